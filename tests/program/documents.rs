//! One digest is one image: documents that others would read in another way are refused, and what real images
//! have is taken.

use std::fs;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use oci_pull_all_support::layout::{add_blob, write_index};
use oci_pull_all_support::rootfs::Layer;
use oci_pull_all_support::{
    Answer, CONFIG, Content, EMPTY, End, Faulty, INDEX, LAYER, MANIFEST, Ran, User, config_of,
    digest, gzip, manifest_of, text,
};
use serde_json::{Value, json};

use crate::new_user;

const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// A tar archive of one file.
fn tar_of(name: &str, content: &str) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    tar.append_data(&mut header, name, content.as_bytes())
        .expect("it fits in memory");
    tar.into_inner().expect("it fits in memory")
}

fn pull(user: &User, content: Content, more: &[&str]) -> Ran {
    let image = content.digest.clone();
    let registry = Faulty::good(content);
    let reference = format!("{}/image@{image}", registry.host());
    let pull = ["pull", &reference, "--output", "out", "--no-store"];
    user.run(&[&pull, more, &["--summary", "summary.json"]].concat())
}

fn summary(user: &User) -> Value {
    let text = fs::read(user.path("summary.json")).expect("it was written");
    serde_json::from_slice(&text).expect("it is JSON")
}

fn platforms(user: &User) -> Vec<String> {
    let summary = summary(user);
    let images = summary["images"].as_array().expect("images");
    let platforms = images.iter().map(|image| &image["platform"]);
    platforms
        .map(|platform| format!("{}", platform["architecture"]).replace('"', ""))
        .collect()
}

/// An image of one plain layer, whose config and manifest are what these make of plain ones.
fn content(
    config: impl Fn(&str) -> String,
    manifest: impl Fn(&str) -> String,
) -> (Content, String) {
    let mut content = Content::default();
    let layer = content.add(LAYER, tar_of("f", "good"));
    let config = config(&config_of(std::slice::from_ref(&layer)).to_string());
    let config = content.add(CONFIG, config.into_bytes());
    let manifest = manifest(&manifest_of(&config, &[layer]).to_string());
    let content = content.with_root(MANIFEST, manifest.clone().into_bytes());
    (content, manifest)
}

fn same(text: &str) -> String {
    text.to_owned()
}

/// The text with members more at the beginning of its object.
fn with(members: &'static str) -> impl Fn(&str) -> String {
    move |text| text.replacen('{', &format!("{{{members},"), 1)
}

#[test]
fn a_document_that_can_be_read_in_two_ways_is_no_image() {
    for members in [
        r#""Layers":[]"#,
        r#""layer\u017f":[]"#,
        "\"layerſ\":[]",
        r#""layers":[]"#,
        r#""annotations":{"a":"1","a":"2"}"#,
        r#""org.example":{"a":[{"b":1,"b":2}]}"#,
        r#""Config":{}"#,
    ] {
        let user = new_user();
        let (content, _) = content(same, with(members));
        let digest = content.digest.clone();
        pull(&user, content, &[]).failed(&[&digest, "line 1 column"]);
        assert!(!user.path("out/index.json").exists(), "{members}");
    }
    for members in [
        r#""RootFS":{"type":"layers","diff_ids":[]}"#,
        r#""config":{}"#,
        r#""Os":"linux""#,
        r#""history":[{"comment":"a","Comment":"b"}]"#,
    ] {
        let user = new_user();
        let (content, _) = content(with(members), same);
        pull(&user, content, &[]).failed(&["cannot be used", "line 1 column"]);
    }
}

#[test]
fn a_lone_key_in_another_case_is_read_and_told() {
    let user = new_user();
    let (content, _) = content(
        |text| text.replace("\"rootfs\"", "\"rootfS\""),
        |text| text.replace("\"layers\"", "\"LAYERS\""),
    );
    pull(&user, content, &[]).succeeded();
    assert_eq!(platforms(&user), ["amd64"]);
    assert_eq!(
        summary(&user)["images"][0]["layers"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
    let ran = user.run(&["verify", "out"]).succeeded();
    for key in ["\"LAYERS\"", "\"rootfS\""] {
        assert!(ran.stderr.contains(key), "{}", ran.stderr);
    }
    let rootfs = ["layout", "rootfs", "out", "--output", "root"];
    user.run(&rootfs).succeeded();
    assert_eq!(
        fs::read_to_string(user.path("root/f")).expect("it is there"),
        "good"
    );
}

#[test]
fn what_is_built_has_each_key_once() {
    let user = new_user();
    let base = json!({
        "OS": "linux", "architecture": "amd64",
        "Config": {"user": "0", "entrypoint": ["/evil"], "env": ["PATH=/evil"], "workingdir": "/evil"},
        "rootfs": {"type": "layers", "diff_ids": []},
    })
    .to_string();
    let config = json!({
        "mediaType": CONFIG, "digest": digest(base.as_bytes()), "size": base.len(),
    });
    fs::write(user.path("config"), &base).expect("can be written");
    let manifest = manifest_of(&config, &[]).to_string();
    fs::write(user.path("manifest"), manifest).expect("can be written");
    user.run(&[
        "image",
        "--base-manifest",
        "manifest",
        "--base-config",
        "config",
        "--user",
        "1000",
        "--workdir",
        "/good",
        "--entrypoint",
        "/good",
        "--env",
        "PATH=/good",
        "--manifest",
        "m",
        "--config",
        "c",
        "--descriptor",
        "d",
    ])
    .succeeded();
    let text = fs::read_to_string(user.path("c")).expect("it was written");
    let built: Value = serde_json::from_str(&text).expect("it is JSON");
    assert_eq!(
        built["config"],
        json!({
            "User": "1000", "WorkingDir": "/good", "Entrypoint": ["/good"], "Env": ["PATH=/good"],
        })
    );
    assert_eq!(built["os"], "linux");
    assert!(!text.contains("evil") && !text.contains("\"OS\"") && !text.contains("\"Config\""));
}

/// A layout of an image of one layer, by its descriptor and `diff_id`.
fn layout_of(user: &User, layer: &Value, diff_id: &str) {
    let layout = user.path("layout");
    let config = json!({
        "os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": [diff_id]},
    });
    let config = add_blob(&layout, CONFIG, config.to_string().as_bytes());
    let manifest = manifest_of(&config, std::slice::from_ref(layer)).to_string();
    let manifest = add_blob(&layout, MANIFEST, manifest.as_bytes());
    write_index(&layout, &[manifest]);
}

fn unpack(user: &User, root: &str) -> Ran {
    user.run(&["layout", "rootfs", "layout", "--output", root])
}

#[test]
fn a_layer_is_what_its_bytes_and_its_diff_id_say() {
    let tar = tar_of("f", "good");
    let zipped = gzip(&tar);
    for (media_type, bytes) in [
        (format!("{LAYER}+gzip"), &zipped),
        (LAYER.to_owned(), &zipped),
        (format!("{LAYER}+zstd"), &zipped),
        (format!("{LAYER}+gzip"), &tar),
    ] {
        let user = new_user();
        let layer = add_blob(&user.path("layout"), &media_type, bytes);
        layout_of(&user, &layer, &digest(&tar));
        unpack(&user, "root").succeeded();
        assert_eq!(
            fs::read_to_string(user.path("root/f")).expect("it is there"),
            "good"
        );
        let warned = user.run(&["verify", "layout"]).succeeded().stderr;
        let differs = (media_type.ends_with("+gzip")) != (bytes == &zipped);
        assert_eq!(
            warned.contains("media type"),
            differs,
            "{media_type}: {warned}"
        );
    }
    // What the config does not mean is not read, by nobody.
    let user = new_user();
    let layer = add_blob(&user.path("layout"), &format!("{LAYER}+gzip"), &zipped);
    layout_of(&user, &layer, &digest(b"another"));
    let found = digest(&tar);
    unpack(&user, "root").failed(&["diff_id", &found, "gzip"]);
    user.run(&["verify", "layout"]).failed(&["diff_id", &found]);
}

/// An archive with one file, the name of which begins with these bytes, and another archive behind it.
fn disguised(name: &[u8], behind: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.set_size(0);
    header.set_mode(0o644);
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.set_cksum();
    [header.as_bytes(), &[0; 1024][..], behind].concat()
}

#[test]
fn a_layer_that_can_be_read_in_two_ways_is_refused() {
    let evil = tar_of("evil", "evil");
    // The rest of the archive is the extra field of a gzip header, and a zstd frame to be skipped.
    let extra: u16 = 512 + 1024 - 12;
    let begin = [0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 3];
    let gzip_name = [&begin[..], &extra.to_le_bytes()].concat();
    let gzip_of_evil = disguised(&gzip_name, &gzip(&evil)[10..]);
    let skipped: u32 = 512 + 1024 - 8;
    let zstd_name = [&[0x50, 0x2a, 0x4d, 0x18][..], &skipped.to_le_bytes()].concat();
    let frame = zstd::encode_all(&evil[..], 1).expect("it fits in memory");
    let zstd_of_evil = disguised(&zstd_name, &frame);
    // Some readers know more compressions than layers have media types for.
    let by_name = |name: &[u8]| disguised(name, b"");
    for (bytes, what) in [
        (gzip_of_evil, "gzip"),
        (zstd_of_evil, "zstd"),
        (by_name(b"\xfd7zXZ\0"), "xz"),
        (by_name(b"BZh91AY&SY"), "bzip2"),
    ] {
        for diff_id in [digest(&bytes), digest(&evil)] {
            for media_type in [LAYER.to_owned(), format!("{LAYER}+gzip")] {
                let user = new_user();
                let layer = add_blob(&user.path("layout"), &media_type, &bytes);
                layout_of(&user, &layer, &diff_id);
                let problem = [what, "a tar archive at once", "in two ways"];
                unpack(&user, "root").failed(&problem);
                user.run(&["verify", "layout"]).failed(&problem);
            }
        }
    }
}

#[test]
fn a_diff_id_may_be_of_sha512() {
    use sha2::{Digest as _, Sha512};
    let user = new_user();
    let tar = tar_of("f", "good");
    let layer = add_blob(&user.path("layout"), &format!("{LAYER}+gzip"), &gzip(&tar));
    layout_of(
        &user,
        &layer,
        &format!("sha512:{}", hex::encode(Sha512::digest(&tar))),
    );
    unpack(&user, "root").succeeded();
    user.run(&["verify", "layout"]).succeeded();
    layout_of(&user, &layer, &format!("sha512:{}", "0".repeat(128)));
    let ran = user.run(&["verify", "layout"]);
    ran.failed(&["diff_id", "sha512:"]);
}

#[test]
fn data_is_the_blob_or_nothing() {
    let tar = tar_of("f", "good");
    for (data, problem) in [
        (&tar[..], None),
        (&b"evil"[..], Some(", but has 4 and sha256:")),
    ] {
        let mut content = Content::default();
        let mut layer = content.add(LAYER, tar.clone());
        let config = content.add(
            CONFIG,
            config_of(std::slice::from_ref(&layer))
                .to_string()
                .into_bytes(),
        );
        layer["data"] = json!(BASE64_STANDARD.encode(data));
        let manifest = manifest_of(&config, &[layer.clone()]).to_string();
        let content = content.with_root(MANIFEST, manifest.into_bytes());
        let image = content.digest.clone();
        // The registry lacks the blob.
        let lacking = layer["digest"].as_str().expect("a digest").to_owned();
        let registry = Faulty::start(content, move |seen, answer| {
            if seen.path.contains(&lacking) {
                Answer::new(404, "{}")
            } else {
                answer
            }
        });
        let user = new_user();
        let reference = format!("{}/image@{image}", registry.host());
        let ran = user.run(&["pull", &reference, "--output", "out", "--no-store"]);
        match problem {
            None => {
                ran.succeeded();
                user.run(&["verify", "out"]).succeeded();
            }
            Some(problem) => {
                let (size, digest) = (tar.len(), text(&layer["digest"]));
                let expected = format!("data should have {size} bytes and the digest {digest}");
                ran.failed(&[&expected, problem, "line 1"]);
            }
        }
    }
}

#[test]
fn what_real_images_have_is_taken() {
    let nulls = r#""annotations":null,"subject":null,"mediaType":"","artifactType":null"#;
    let user = new_user();
    let (nulled, _) = content(same, |text| {
        let text = text.replace(&format!(r#","mediaType":"{MANIFEST}""#), "");
        with(nulls)(&text)
    });
    pull(&user, nulled, &[]).succeeded();
    assert_eq!(platforms(&user), ["amd64"]);
    user.run(&["verify", "out"]).succeeded();

    // Go writes nothing so, and reads it.
    let nulled = |text: &str| {
        let mut config: Value = serde_json::from_str(text).expect("it is JSON");
        config["Size"] = Value::Null;
        config["history"] = json!([{"created_by": null, "empty_layer": null}]);
        config["config"] = json!({
            "ArgsEscaped": null, "AttachStdin": null, "AttachStdout": null, "AttachStderr": null, "OpenStdin": null,
            "StdinOnce": null, "Tty": null, "NetworkDisabled": null, "Memory": null, "MemorySwap": null,
            "CpuShares": null, "StopTimeout": null, "Hostname": null, "OnBuild": [null], "Shell": null,
            "Healthcheck": {"Test": null, "Interval": null, "Retries": null},
        });
        config.to_string()
    };
    let user = new_user();
    pull(&user, content(nulled, same).0, &[]).succeeded();
    assert_eq!(platforms(&user), ["amd64"]);

    // A config by another name, or by none.
    for media_type in ["application/octet-stream", "application/json", ""] {
        let user = new_user();
        let (content, _) = content(same, |text| text.replace(CONFIG, media_type));
        pull(&user, content, &[]).succeeded();
        assert_eq!(platforms(&user), ["amd64"], "{media_type}");
        let rootfs = ["layout", "rootfs", "out", "--output", "root"];
        user.run(&rootfs).succeeded();
    }
}

#[test]
fn a_config_that_docker_reads_is_read_however_large() {
    let large = |text: &str| text.to_owned() + &" ".repeat(17 << 20);
    for media_type in [CONFIG, "application/json", "application/octet-stream", ""] {
        let (image, _) = content(large, |text| text.replace(CONFIG, media_type));
        pull(&new_user(), image, &[]).failed(&["cannot be used", "limit of 16 MiB"]);
    }
}

#[test]
fn an_artifact_is_no_image_whatever_its_config_is() {
    for (media_type, config) in [
        ("application/x.model", "x".repeat(17 << 20)),
        ("application/x.model", "{\"a\":1,\"a\":2}".to_owned()),
        ("application/vnd.oci.empty.v1+json", "{}".to_owned()),
        (CONFIG, "{}".to_owned()),
    ] {
        let user = new_user();
        let mut content = Content::default();
        let config = content.add(media_type, config.into_bytes());
        let manifest = manifest_of(&config, &[]).to_string();
        pull(
            &user,
            content.with_root(MANIFEST, manifest.into_bytes()),
            &[],
        )
        .succeeded();
        assert!(platforms(&user).is_empty(), "{media_type}");
        user.run(&["verify", "out"]).succeeded();
        let rootfs = ["layout", "rootfs", "out", "--output", "root"];
        user.run(&rootfs).failed(&["no image"]);
    }
}

/// An index of what these make of an image's descriptor.
fn index(entries: impl Fn(&Value) -> Vec<Value>, head: &Value) -> Content {
    let (mut content, manifest) = content(same, same);
    let entry = content.add(MANIFEST, manifest.into_bytes());
    let mut index = head.clone();
    index["manifests"] = json!(entries(&entry));
    content.with_root(INDEX, index.to_string().into_bytes())
}

fn for_platform(entry: &Value, architecture: &str) -> Value {
    let mut entry = entry.clone();
    entry["platform"] = json!({"os": "linux", "architecture": architecture});
    entry
}

#[test]
fn an_index_lists_what_it_likes() {
    let head = json!({"schemaVersion": 2, "annotations": null});
    // One manifest for two platforms.
    let both = |entry: &Value| vec![for_platform(entry, "amd64"), for_platform(entry, "arm64")];
    for (chosen, expected) in [
        (&[][..], &["amd64", "arm64"][..]),
        (&["--platform", "linux/arm64"], &["arm64"]),
    ] {
        let user = new_user();
        pull(&user, index(both, &head), chosen).succeeded();
        assert_eq!(platforms(&user), expected);
    }
    // One that only its config tells the platform of.
    let user = new_user();
    let silent = |entry: &Value| vec![entry.clone(), for_platform(entry, "arm64")];
    pull(&user, index(silent, &head), &["--platform", "linux/amd64"]).succeeded();
    assert_eq!(platforms(&user), ["amd64"]);
    // Others than manifests, which no layout needs to hold.
    let user = new_user();
    let artifact = |entry: &Value| {
        let schema1 = json!({
            "mediaType": "application/vnd.docker.distribution.manifest.v1+prettyjws",
            "digest": digest(b"old"), "size": 3,
        });
        vec![schema1, for_platform(entry, "amd64")]
    };
    pull(&user, index(artifact, &head), &[]).succeeded();
    user.run(&["verify", "out"]).succeeded();
    // No version, as some rules write it.
    let user = new_user();
    let alone = |entry: &Value| vec![entry.clone()];
    pull(&user, index(alone, &json!({"mediaType": INDEX})), &[]).succeeded();
    let index = user.path("out/index.json");
    let text = fs::read_to_string(&index).expect("it is there");
    // It may be a link into the store.
    fs::remove_file(&index).expect("it is there");
    fs::write(&index, text.replace(r#""schemaVersion":2,"#, "")).expect("can be written");
    let ran = user.run(&["verify", "out"]).succeeded();
    assert!(ran.stderr.contains("schemaVersion"), "{}", ran.stderr);
}

/// As Homebrew writes its bottles.
#[test]
fn the_version_of_a_system_is_what_it_is_called() {
    let mut content = Content::default();
    let platform =
        |version: &str| json!({"os": "darwin", "architecture": "arm64", "os.version": version});
    let entries = ["macOS 14.1", "macOS 13 (\"Ventura\"): a/b"].map(|version| {
        let mut entry = other_image(&mut content, &platform(version));
        entry["platform"] = platform(version);
        entry
    });
    let index = json!({"schemaVersion": 2, "manifests": entries}).to_string();
    let content = content.with_root(INDEX, index.into_bytes());
    let wanted = ["--platform", "darwin/arm64:macOS 14.1"];
    for (platforms, count) in [(&wanted[..], 1), (&[], 2)] {
        let user = new_user();
        pull(&user, content.clone(), platforms).succeeded();
        let images = &summary(&user)["images"];
        assert_eq!(images.as_array().map(Vec::len), Some(count));
        assert_eq!(images[0]["platform"], platform("macOS 14.1"));
    }
}

#[test]
fn the_version_of_windows_chooses() {
    let head = json!({"schemaVersion": 2});
    let versions = |entry: &Value| {
        ["10.0.17763.1", "10.0.20348.2"]
            .map(|version| {
                let mut entry = for_platform(entry, "amd64");
                entry["platform"]["os"] = json!("windows");
                entry["platform"]["os.version"] = json!(version);
                entry
            })
            .to_vec()
    };
    let user = new_user();
    let chosen = ["--platform", "windows/amd64:10.0.20348"];
    pull(&user, index(versions, &head), &chosen).succeeded();
    let images = &summary(&user)["images"];
    assert_eq!(images.as_array().map(Vec::len), Some(1), "{images}");
    assert_eq!(images[0]["platform"]["os.version"], "10.0.20348.2");
    let user = new_user();
    let none = ["--platform", "windows/amd64:10.0.2034"];
    pull(&user, index(versions, &head), &none).failed(&["10.0.17763.1"]);
}

#[test]
fn a_base_is_for_what_its_index_says() {
    let user = new_user();
    let config = config_of(&[]).to_string();
    let pointer = json!({
        "mediaType": CONFIG, "digest": digest(config.as_bytes()), "size": config.len(),
    });
    fs::write(user.path("config"), config).expect("can be written");
    fs::write(
        user.path("manifest"),
        manifest_of(&pointer, &[]).to_string(),
    )
    .expect("written");
    let image = |platform: &str| {
        user.run(&[
            "image",
            "--base-manifest",
            "manifest",
            "--base-config",
            "config",
            "--platform",
            platform,
            "--manifest",
            "m",
            "--config",
            "c",
            "--descriptor",
            "d",
        ])
    };
    image("linux/amd64/v2").succeeded();
    image("linux/arm64").failed(&["linux/amd64", "linux/arm64"]);
}

#[test]
fn a_registry_does_not_say_how_much_memory_a_pull_takes() {
    let (mut content, _) = content(same, same);
    let large: Vec<Value> = (0..20)
        .map(|number| {
            let text = format!(
                r#"{{"schemaVersion":2,"manifests":[],"annotations":{{"n":"{number}"}}}}{}"#,
                " ".repeat((4 << 20) - 100)
            );
            content.add(INDEX, text.into_bytes())
        })
        .collect();
    let index = json!({"schemaVersion": 2, "manifests": large}).to_string();
    let content = content.with_root(INDEX, index.into_bytes());
    pull(&new_user(), content, &[]).failed(&["64 MiB"]);
}

/// As [`index`], of one manifest of 2 MiB or with a config of 8 MiB, listed for 40 platforms.
fn large_index(manifest: usize, config: usize) -> Content {
    let spaced = |text: &str, size: usize| text.to_owned() + &" ".repeat(size);
    let (content, _) = content(|text| spaced(text, config), |text| spaced(text, manifest));
    let entry = content.descriptor(&content.digest);
    let entries: Vec<Value> = (0..40)
        .map(|number| for_platform(&entry, &format!("a{number}")))
        .collect();
    let index = json!({"schemaVersion": 2, "manifests": entries}).to_string();
    content.with_root(INDEX, index.into_bytes())
}

#[test]
fn an_image_is_not_listed_for_more_platforms_than_memory_has_room_for() {
    let user = new_user();
    pull(&user, large_index(2 << 20, 0), &[]).failed(&["its manifests", "64 MiB"]);
    pull(&user, large_index(0, 8 << 20), &[]).failed(&["the configs", "64 MiB"]);
    pull(&user, large_index(0, 0), &[]).succeeded();
}

#[test]
fn an_entry_that_is_no_manifest_is_not_for_the_platform_of_one() {
    for other in [
        json!(""),
        json!(null),
        json!("application/json"),
        json!(format!("{MANIFEST}; charset=utf-8")),
        json!(LAYER),
    ] {
        let disguised = |more: Value| {
            let entries = |entry: &Value| {
                let mut disguised = for_platform(entry, "amd64");
                disguised["mediaType"] = other.clone();
                let mut entry = entry.clone();
                entry["platform"] = more.clone();
                vec![disguised, entry]
            };
            index(entries, &json!({"schemaVersion": 2}))
        };
        for platform in [
            json!(null),
            json!({"os": "linux", "architecture": "amd64", "variant": "v2"}),
        ] {
            pull(&new_user(), disguised(platform), &[])
                .failed(&["it is no image, but it is listed for linux/amd64"]);
        }
        let arm64 = json!({"os": "linux", "architecture": "arm64"});
        // Who names its digest runs what is listed for an unknown platform, too.
        let unknown = json!({"os": "unknown", "architecture": "unknown"});
        let hidden = |entry: &Value| {
            let (mut hidden, mut entry) = (entry.clone(), entry.clone());
            hidden["mediaType"] = other.clone();
            hidden["platform"] = unknown.clone();
            entry["platform"] = arm64.clone();
            vec![hidden, entry]
        };
        let hidden = index(hidden, &json!({"schemaVersion": 2}));
        for content in [disguised(arm64.clone()), hidden] {
            let user = new_user();
            pull(&user, content, &[]).succeeded();
            assert_eq!(platforms(&user), ["arm64"]);
            let told = user.run(&["verify", "out"]).succeeded().stderr;
            assert!(told.contains("which is no manifest's"), "{told}");
        }
    }
}

#[test]
fn an_entry_that_is_no_manifest_is_told_where_some_take_it() {
    const SCHEMA_1: &str = "application/vnd.docker.distribution.manifest.v1+json";
    const CACHE: &str = "application/vnd.buildkit.cacheconfig.v0";
    let in_capitals = MANIFEST.to_uppercase();
    for (media_type, platform, is_beside_image, is_told) in [
        ("application/json", None, true, true),
        ("application/vnd.in-toto+json", None, true, true),
        (&in_capitals, None, true, true),
        (LAYER, None, true, true),
        (CONFIG, None, true, true),
        (SCHEMA_1, None, true, true),
        (SCHEMA_1, Some("amd64"), true, true),
        (SCHEMA_1, Some("unknown"), true, true),
        ("application/json", None, false, true),
        // The layers of a cache, as BuildKit lists them.
        (LAYER, None, false, false),
        (CACHE, None, false, false),
        (CACHE, Some("amd64"), false, true),
    ] {
        let entries = |entry: &Value| {
            let mut other = as_media_type(entry, media_type);
            if let Some(platform) = platform {
                other = for_platform(&other, platform);
            }
            let image = is_beside_image.then(|| for_platform(entry, "arm64"));
            image.into_iter().chain([other]).collect()
        };
        let user = new_user();
        pull(&user, index(entries, &json!({"schemaVersion": 2})), &[]).succeeded();
        let told = user.run(&["verify", "out"]).succeeded().stderr;
        let problem = format!("it is listed as {media_type:?}, which is no manifest's");
        assert_eq!(told.contains(&problem), is_told, "{media_type} {told}");
    }
}

#[test]
fn who_meets_schema_1_is_told_once_what_to_do() {
    const SCHEMA_1: &str = "application/vnd.docker.distribution.manifest.v1+json";
    let old = r#"{"schemaVersion":1,"fsLayers":[]}"#.as_bytes().to_vec();
    let content = Content::default().with_root(SCHEMA_1, old);
    let user = new_user();
    let ran = pull(&user, content, &[]);
    ran.failed(&[
        "cannot be used: have it made and pushed anew, or pull another image\n",
        "it has schemaVersion 1: only schemaVersion 2 is supported\n",
    ]);
}

/// As an index of SOCI is listed (soci-snapshotter, `soci convert`).
#[test]
fn an_artifact_behind_the_image_of_its_platform_is_taken_by_nobody() {
    let listed = |is_before: bool, platform: Value, annotations: Value| {
        let soci = "application/vnd.amazon.soci.index.v2+json";
        let (mut content, image) = content(same, same);
        let image = content.add(MANIFEST, image.into_bytes());
        let config = content.add(soci, b"{}".to_vec());
        let layer = content.add("application/octet-stream", b"spans".to_vec());
        let soci = manifest_of(&config, &[layer]).to_string().into_bytes();
        let mut soci = content.add(MANIFEST, soci);
        soci["platform"] = platform;
        soci["annotations"] = annotations;
        let mut entries = [for_platform(&image, "amd64"), soci];
        if is_before {
            entries.reverse();
        }
        let index = json!({"schemaVersion": 2, "manifests": entries}).to_string();
        content.with_root(INDEX, index.into_bytes())
    };
    let amd64 = json!({"os": "linux", "architecture": "amd64"});
    let of_image = json!({"com.amazon.soci.image-manifest-digest": "sha256:0"});
    for more in [&[][..], &["--platform=linux/amd64"]] {
        let user = new_user();
        let content = listed(false, amd64.clone(), of_image.clone());
        pull(&user, content, more).succeeded();
        assert_eq!(platforms(&user), ["amd64"]);
        let told = user.run(&["verify", "out"]).succeeded().stderr;
        assert!(!told.contains("warning"), "{told}");
        user.run(&["layout", "rootfs", "out", "--output", "root"])
            .succeeded();
    }
    // Some ask for the variant first, and podman prefers what is compressed by zstd.
    let variant = json!({"os": "linux", "architecture": "amd64", "variant": "v1"});
    let zstd = json!({"io.github.containers.compression.zstd": "true"});
    for (is_before, platform, annotations, why) in [
        (true, &amd64, &of_image, "some tools take the first of both"),
        (
            false,
            &variant,
            &of_image,
            "the image before it is listed for linux/amd64, and some tools prefer",
        ),
        (
            false,
            &amd64,
            &zstd,
            "podman prefers it to the image before it, for its annotation io.github.containers.compression.zstd",
        ),
    ] {
        let content = listed(is_before, platform.clone(), annotations.clone());
        pull(&new_user(), content, &[])
            .failed(&["it is no image, but it is listed for linux/amd64", why]);
    }
    let other_name = Value::from("x86_64");
    let mut content = listed(false, amd64, of_image);
    let index = content.answer_to(&content.digest).body;
    let mut index: Value = serde_json::from_slice(&index).expect("it is JSON");
    index["manifests"][0]["platform"]["architecture"] = other_name;
    content = content.with_root(INDEX, index.to_string().into_bytes());
    pull(&new_user(), content, &[])
        .failed(&["the image before it is listed for that under another name"]);
}

/// Another image than that of [`content`], which says that it is for this.
fn other_image(content: &mut Content, platform: &Value) -> Value {
    let layer = content.add(LAYER, tar_of("f", "other"));
    let mut config = config_of(std::slice::from_ref(&layer));
    for (key, value) in platform.as_object().expect("an object") {
        config[key] = value.clone();
    }
    let config = content.add(CONFIG, config.to_string().into_bytes());
    let manifest = manifest_of(&config, &[layer]).to_string();
    content.add(MANIFEST, manifest.into_bytes())
}

#[test]
fn a_platform_is_what_containerd_takes_it_for() {
    for (platform, architecture) in [
        (json!({"os": "linux", "architecture": "x86_64"}), "amd64"),
        (json!({"os": "linux", "architecture": "x86-64"}), "amd64"),
        (json!({"os": "linux", "architecture": "aarch64"}), "arm64"),
        (json!({"os": "linux", "architecture": "armhf"}), "arm"),
        (json!({"os": "linux", "architecture": "i386"}), "386"),
        (json!({"os": "Linux", "architecture": "AMD64"}), "amd64"),
    ] {
        // By its config alone, and by the index.
        let user = new_user();
        let mut alone = Content::default();
        let image = other_image(&mut alone, &platform);
        let manifest = bytes(&alone, &image);
        pull(&user, alone.with_root(MANIFEST, manifest), &[]).succeeded();
        assert_eq!(platforms(&user), [architecture]);
        let told = user.run(&["verify", "out"]).succeeded().stderr;
        assert!(told.contains("another name for the platform"), "{told}");

        let user = new_user();
        let entries = |entry: &Value| {
            let mut entry = entry.clone();
            entry["platform"] = platform.clone();
            vec![entry]
        };
        let head = json!({"schemaVersion": 2});
        let wanted = format!("linux/{architecture}");
        let ran = pull(&user, index(entries, &head), &["--platform", &wanted]);
        ran.succeeded();
        assert_eq!(platforms(&user), [architecture]);
        let told = user.run(&["verify", "out"]).succeeded().stderr;
        assert!(told.contains("another name for the platform"), "{told}");
    }
    for platform in [
        json!({"os": "", "architecture": "amd64"}),
        json!({"architecture": "amd64"}),
    ] {
        let entries = |entry: &Value| {
            let mut unnamed = entry.clone();
            unnamed["platform"] = platform.clone();
            vec![unnamed, for_platform(entry, "amd64")]
        };
        let index = index(entries, &json!({"schemaVersion": 2}));
        pull(&new_user(), index, &[]).failed(&["without an os"]);
    }
    // No machine is of no platform, or of half of one: an image there nobody would scan.
    for (platform, told) in [
        (json!({"os": "", "architecture": ""}), r#"the os "" and"#),
        (json!({}), r#"the architecture "","#),
        (json!({"os": "linux"}), r#"the os "linux" and"#),
        (
            json!({"os": "linux", "architecture": "unknown"}),
            r#"the architecture "unknown","#,
        ),
        (
            json!({"os": "unknown", "architecture": "amd64"}),
            r#"the os "unknown" and"#,
        ),
        (json!({"os": "unknown", "architecture": "unknown"}), ""),
    ] {
        let entries = |entry: &Value| {
            let mut nothing = entry.clone();
            nothing["platform"] = platform.clone();
            vec![nothing, for_platform(entry, "amd64")]
        };
        let index_of_image = index(entries, &json!({"schemaVersion": 2}));
        let hidden = ["is an image for linux/amd64", "lists it for an unknown one"];
        pull(&new_user(), index_of_image, &[]).failed(&hidden);

        // What is not asked for is not read.
        let user = new_user();
        let amd64 = ["--platform", "linux/amd64"];
        pull(&user, index_of_another(&platform), &amd64).succeeded();
        assert_eq!(platforms(&user), ["amd64"]);
        let warned = user.run(&["verify", "--sparse", "out"]).succeeded().stderr;
        assert_eq!(warned.contains("nobody can choose it"), !told.is_empty());
        assert!(warned.contains(told), "{warned}");

        let (mut content, image) = content(same, same);
        let image = content.add(MANIFEST, image.into_bytes());
        let config = content.add(EMPTY, b"{}".to_vec());
        let statement = content.add("application/vnd.in-toto+json", b"{}".to_vec());
        let other = manifest_of(&config, &[statement]).to_string();
        let mut other = content.add(MANIFEST, other.into_bytes());
        other["platform"] = platform;
        let entries = [other, for_platform(&image, "amd64")];
        let index = json!({"schemaVersion": 2, "manifests": entries}).to_string();
        let user = new_user();
        let content = content.with_root(INDEX, index.into_bytes());
        pull(&user, content, &[]).succeeded();
        assert_eq!(platforms(&user), ["amd64"]);
        let ran = user.run(&["verify", "out"]).succeeded();
        assert!(ran.stderr.contains(told), "{}", ran.stderr);
    }
}

/// An image for linux/amd64, and another one, which is listed for this.
fn index_of_another(platform: &Value) -> Content {
    let (mut content, image) = content(same, same);
    let image = content.add(MANIFEST, image.into_bytes());
    let mut other = other_image(&mut content, &json!({}));
    other["platform"] = platform.clone();
    let entries = [other, for_platform(&image, "amd64")];
    let index = json!({"schemaVersion": 2, "manifests": entries}).to_string();
    content.with_root(INDEX, index.into_bytes())
}

/// Some know one of the two names, and some both.
#[test]
fn a_platform_under_two_names_is_one_image() {
    for (one, other, is_told) in [
        ("x86_64", "amd64", true),
        ("amd64", "x86_64", true),
        ("aarch64", "arm64", false),
    ] {
        let (mut content, image) = content(same, same);
        let image = content.add(MANIFEST, image.into_bytes());
        let platform = json!({"os": "linux", "architecture": other});
        let second = other_image(&mut content, &platform);
        let second = if is_told {
            for_platform(&second, other)
        } else {
            second
        };
        let entries = [for_platform(&image, one), second];
        let index = json!({"schemaVersion": 2, "manifests": entries}).to_string();
        pull(
            &new_user(),
            content.with_root(INDEX, index.into_bytes()),
            &[],
        )
        .failed(&["under another name", "linux/"]);
    }
    // A variant's other name is that of its own machine alone.
    for (architecture, one, other, is_one) in [
        ("arm", "7", "v7", true),
        ("arm", "v7", "7", true),
        ("arm", "7", "", true),
        ("arm", "", "v7", true),
        ("arm64", "v8", "", true),
        ("arm64", "8", "v8", true),
        ("amd64", "", "v1", true),
        // podman looks for v7, v6 and v5, and then for what has no variant.
        ("arm", "7", "v6", true),
        ("arm", "v6", "", true),
        ("arm", "", "v5", true),
        ("arm64", "", "V9", true),
        ("arm", "6", "7", false),
        ("arm64", "8", "8", false),
    ] {
        let (mut content, _) = content(same, same);
        let mut number = 0;
        let entries = [one, other].map(|variant| {
            number += 1;
            let mut platform =
                json!({"os": "linux", "architecture": architecture, "variant": variant});
            platform["author"] = json!(format!("{number}"));
            let mut entry = other_image(&mut content, &platform);
            entry["platform"] = platform;
            entry
        });
        let user = new_user();
        let index = json!({"schemaVersion": 2, "manifests": entries}).to_string();
        let content = content.with_root(INDEX, index.into_bytes());
        let ran = pull(&user, content, &[]);
        if is_one {
            let [one, other] = [0, 1].map(|at| text(&entries[at]["digest"]));
            ran.failed(&[one, "some tools take it", other, "in one way"]);
        } else {
            ran.succeeded();
            assert_eq!(platforms(&user), [architecture, architecture]);
            let told = user.run(&["verify", "out"]).succeeded().stderr;
            assert!(told.contains("another name for the platform"), "{told}");
        }
    }
    // Nobody asked for them.
    let (mut content, image) = content(same, same);
    let image = content.add(MANIFEST, image.into_bytes());
    let mut entries = ["v8", ""]
        .map(|variant| {
            let platform = json!({"os": "linux", "architecture": "arm64", "variant": variant});
            let mut entry = other_image(&mut content, &platform);
            entry["platform"] = platform;
            entry
        })
        .to_vec();
    entries.push(for_platform(&image, "amd64"));
    let index_of_all = json!({"schemaVersion": 2, "manifests": entries}).to_string();
    let content = content.with_root(INDEX, index_of_all.into_bytes());
    let amd64 = ["--platform", "linux/amd64"];
    pull(&new_user(), content, &amd64).succeeded();
    let both = |entry: &Value| vec![for_platform(entry, "x86_64"), for_platform(entry, "amd64")];
    let user = new_user();
    pull(&user, index(both, &json!({"schemaVersion": 2})), &[]).succeeded();
    assert_eq!(platforms(&user), ["amd64"]);
}

#[test]
fn what_some_run_is_an_image_or_an_error() {
    let alone = |config: Value, diff_id: &str| {
        let mut content = Content::default();
        let layer = content.add(LAYER, tar_of("f", "good"));
        let mut config = config.clone();
        config["rootfs"] = json!({"type": "layers", "diff_ids": [diff_id]});
        let config = content.add(CONFIG, config.to_string().into_bytes());
        let manifest = manifest_of(&config, &[layer]).to_string();
        content.with_root(MANIFEST, manifest.into_bytes())
    };
    let right = digest(&tar_of("f", "good"));
    let wrong = digest(b"another");
    for config in [
        json!({"os": "", "architecture": "amd64"}),
        json!({"architecture": "amd64"}),
        json!({"os": "linux"}),
        json!({}),
    ] {
        for diff_id in [&right, &wrong] {
            let ran = pull(&new_user(), alone(config.clone(), diff_id), &[]);
            ran.failed(&["cannot be used", "for which os and architecture"]);
        }
    }
}

#[test]
fn a_layer_that_is_no_archive_is_told() {
    let whole = tar_of("f", "good");
    for (bytes, problem) in [
        (b"no archive at all".to_vec(), "it ends within a block"),
        (vec![7; 4096], "wrong checksum"),
        (whole[..700].to_vec(), "it ends within"),
    ] {
        for media_type in [LAYER.to_owned(), format!("{LAYER}+gzip")] {
            let blob = if media_type == LAYER {
                bytes.clone()
            } else {
                gzip(&bytes)
            };
            let user = new_user();
            let layer = add_blob(&user.path("layout"), &media_type, &blob);
            layout_of(&user, &layer, &digest(&bytes));
            let problem = ["not a whole tar archive", problem];
            unpack(&user, "root").failed(&problem);
            user.run(&["verify", "layout"]).failed(&problem);
        }
    }
}

/// What is right by itself, and not on what is below it.
#[test]
fn a_layer_that_cannot_be_applied_is_told() {
    let link = Layer::new().hard_link("b", "f").0;
    for (below, problem) in [
        ("f", None),
        (
            "other",
            Some("is a hard link to \"f\", which is no file here"),
        ),
    ] {
        let user = new_user();
        let layout = user.path("layout");
        let layers = [tar_of(below, "x"), link.clone()];
        let layers = layers.map(|layer| add_blob(&layout, LAYER, &layer));
        let config = add_blob(&layout, CONFIG, config_of(&layers).to_string().as_bytes());
        let manifest = manifest_of(&config, &layers).to_string();
        let manifest = add_blob(&layout, MANIFEST, manifest.as_bytes());
        write_index(&layout, &[manifest]);
        for ran in [unpack(&user, "root"), user.run(&["verify", "layout"])] {
            match problem {
                None => drop(ran.succeeded()),
                Some(problem) => ran.failed(&[text(&layers[1]["digest"]), problem]),
            }
        }
    }
}

#[test]
fn what_index_and_config_say_is_compared() {
    for (config, listed, is_told) in [
        ("arm/v7", "arm/v6", true),
        ("arm/v6", "arm/v7", true),
        ("amd64/v4", "amd64", true),
        ("amd64", "amd64/v4", true),
        ("arm/v7", "arm", false),
        ("amd64", "amd64/v1", false),
    ] {
        let platform = |text: &str| {
            let (architecture, variant) = text.split_once('/').unwrap_or((text, ""));
            json!({"os": "linux", "architecture": architecture, "variant": variant})
        };
        let user = new_user();
        let mut content = Content::default();
        let mut image = other_image(&mut content, &platform(config));
        image["platform"] = platform(listed);
        let index = json!({"schemaVersion": 2, "manifests": [image]}).to_string();
        pull(&user, content.with_root(INDEX, index.into_bytes()), &[]).succeeded();
        let told = user.run(&["verify", "out"]).succeeded().stderr;
        let says = format!("says that it is for linux/{config}, but it is listed for");
        assert_eq!(told.contains(&says), is_told, "{told}");
    }
}

#[test]
fn of_many_faults_the_first_are_told() {
    let user = new_user();
    let layout = user.path("layout");
    fs::create_dir(&layout).expect("can be made");
    let entries = (0..3000).map(|number| {
        let digest = digest(format!("{number}").as_bytes());
        json!({"mediaType": MANIFEST, "digest": digest, "size": 7})
    });
    write_index(&layout, &entries.collect::<Vec<_>>());
    let ran = user.run(&["verify", "layout"]);
    assert!(ran.stderr.lines().count() < 20, "{}", ran.stderr);
    ran.failed(&["and 2990 more", "faults: 3000"]);
}

/// What stands before an image counts in each index by itself.
#[test]
fn an_entry_of_two_indexes_is_judged_in_both() {
    let user = new_user();
    let layout = user.path("out");
    let mut content = Content::default();
    let mut add = |architecture: &str| {
        let image = other_image(&mut content, &json!({"architecture": architecture}));
        let manifest: Value = serde_json::from_slice(&bytes(&content, &image)).expect("is JSON");
        for blob in [&image, &manifest["config"], &manifest["layers"][0]] {
            add_blob(&layout, text(&blob["mediaType"]), &bytes(&content, blob));
        }
        image
    };
    let (arm64, amd64) = (add("arm64"), for_platform(&add("amd64"), "amd64"));
    let index = |entries: &[&Value]| {
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries});
        add_blob(&layout, INDEX, index.to_string().as_bytes())
    };
    let roots = [index(&[&amd64, &arm64]), index(&[&arm64, &amd64])];
    write_index(&layout, &roots);
    let problem = [text(&arm64["digest"]), "listed without a platform"];
    user.run(&["verify", "out"]).failed(&problem);
    user.run(&["layout", "rootfs", "out", "--output", "root"])
        .failed(&problem);
    write_index(&layout, &roots[..1]);
    user.run(&["verify", "out"]).succeeded();
}

#[test]
fn an_artifact_is_not_listed_for_the_platform_of_an_image() {
    let artifact = |kind: usize| {
        let mut content = Content::default();
        let layer_type = ["a/b", LAYER, LAYER][kind];
        let (config_type, config) = [
            (CONFIG, config_of(&[]).to_string()),
            (EMPTY, "{}".to_owned()),
            ("a/b", r#"{"os":"linux"}"#.to_owned()),
        ][kind]
            .clone();
        let layer = content.add(layer_type, tar_of("f", "evil"));
        let config = content.add(config_type, config.into_bytes());
        let evil = manifest_of(&config, &[layer]).to_string().into_bytes();
        let evil = content.add(MANIFEST, evil);
        let layer = content.add(LAYER, tar_of("f", "good"));
        let config = config_of(std::slice::from_ref(&layer))
            .to_string()
            .into_bytes();
        let config = content.add(CONFIG, config);
        let good = manifest_of(&config, &[layer]).to_string().into_bytes();
        let good = content.add(MANIFEST, good);
        (content, evil, good)
    };
    for kind in 0..3 {
        for (other, is_refused) in [("amd64", true), ("arm64", false), ("unknown", false)] {
            let (content, evil, good) = artifact(kind);
            let entries = [for_platform(&evil, other), for_platform(&good, "amd64")];
            let index = json!({"schemaVersion": 2, "manifests": entries}).to_string();
            let layout = new_user();
            for document in [&evil, &good] {
                let manifest: Value =
                    serde_json::from_slice(&bytes(&content, document)).expect("is JSON");
                let layers = manifest["layers"].as_array().expect("it has layers").iter();
                for blob in layers.chain([document, &manifest["config"]]) {
                    let media_type = text(&blob["mediaType"]);
                    add_blob(&layout.path("out"), media_type, &bytes(&content, blob));
                }
            }
            let root = add_blob(&layout.path("out"), INDEX, index.as_bytes());
            write_index(&layout.path("out"), &[root]);
            let user = new_user();
            let content = content.with_root(INDEX, index.into_bytes());
            let ran = [
                pull(&user, content, &[]),
                layout.run(&["verify", "out"]),
                layout.run(&["layout", "rootfs", "out", "--output", "root"]),
            ];
            for ran in ran {
                if is_refused {
                    ran.failed(&[text(&evil["digest"]), "it is no image", "linux/amd64"]);
                    continue;
                }
                let ran = ran.succeeded();
                if ran.stdout.ends_with(": valid\n") {
                    let listed = format!("listed for linux/{other}, but it is no image");
                    let is_told = ran.stderr.contains(&listed);
                    assert_eq!(is_told, other == "arm64", "{}", ran.stderr);
                }
            }
        }
    }
}

fn bytes(content: &Content, descriptor: &Value) -> Vec<u8> {
    content.answer_to(text(&descriptor["digest"])).body
}

#[test]
fn all_entries_say_the_same_of_a_manifest() {
    let wrong = |key: &str, value: Value| {
        let entries = |entry: &Value| {
            let entry = for_platform(entry, "amd64");
            let mut other = entry.clone();
            other[key] = value.clone();
            vec![entry, other]
        };
        pull(
            &new_user(),
            index(entries, &json!({"schemaVersion": 2})),
            &[],
        )
    };
    for (key, value) in [
        ("size", json!(7)),
        ("mediaType", json!(INDEX)),
        (
            "mediaType",
            json!("application/vnd.docker.distribution.manifest.v2+json"),
        ),
    ] {
        wrong(key, value).failed(&["is listed with several sizes or media types"]);
    }
}

#[test]
fn what_a_registry_says_acts_on_nothing() {
    let hostile = "linux/amd64\",\n],)\nlocal_path_override(\u{202e}\u{1b}[2J";
    let user = new_user();
    let head = json!({"schemaVersion": 2});
    let entry = |entry: &Value| vec![for_platform(entry, hostile)];
    let content = index(entry, &head);
    let image = content.digest.clone();
    let registry = Faulty::good(content);
    let reference = format!("{}/image@{image}", registry.host());
    let acts = |text: &str| text.contains(['\u{1b}', '\u{202e}', '\r']);
    for command in [
        &["resolve", &reference][..],
        &["pull", &reference, "--output", "out", "--no-store"],
    ] {
        let ran = user.run(command);
        assert!(!ran.success && !acts(&ran.stderr), "{}", ran.stderr);
        assert!(
            !ran.stdout.contains("local_path_override"),
            "{}",
            ran.stdout
        );
        assert!(ran.stderr.lines().all(|line| line.chars().count() < 1100));
    }
    // What a registry says of its errors.
    let text = json!({"errors": [{"code": "X", "message": format!("\u{202e}\u{2066}\u{9b}{}", "y".repeat(100_000))}]});
    let registry = Faulty::start(Content::default(), move |seen, answer| {
        if seen.path == "/v2/" {
            answer
        } else {
            Answer::new(403, text.to_string())
        }
    });
    let reference = format!("{}/image@{image}", registry.host());
    let ran = user.run(&["pull", &reference, "--output", "out", "--no-store"]);
    assert!(
        !ran.success && !acts(&ran.stderr) && ran.stderr.len() < 5000,
        "{}",
        ran.stderr
    );
}

#[test]
fn an_argument_acts_on_nothing() {
    let hidden = ['\u{3164}', '\u{202e}', '\u{fe0f}', '\u{e0041}', '\u{1b}'];
    let hostile: String = hidden.iter().collect();
    let user = new_user();
    for arguments in [
        &["pull", &format!("127.0.0.1:1/x{hostile}:y")][..],
        &[
            "layout",
            "rootfs",
            "--platform",
            &format!("li{hostile}/amd64"),
        ],
        &[&hostile],
        &["pull", &format!("--{hostile}")],
        &["store", &hostile],
    ] {
        let ran = user.run(arguments);
        assert!(
            !ran.success && !ran.stderr.contains(hidden),
            "{:?}",
            ran.stderr
        );
        assert!(ran.stderr.contains("\\u{3164}"), "{}", ran.stderr);
    }
}

#[test]
fn a_list_of_no_referrers_may_be_null() {
    let (content, _) = content(same, same);
    let image = content.digest.clone();
    let registry = Faulty::start(content, |seen, answer| {
        if seen.path.contains("/referrers/") {
            Answer::new(200, r#"{"schemaVersion":2,"manifests":null}"#)
                .header("Content-Type", INDEX)
        } else {
            answer
        }
    });
    let user = new_user();
    let reference = format!("{}/image@{image}", registry.host());
    let pull = [
        "pull",
        &reference,
        "--output",
        "out",
        "--no-store",
        "--referrers",
    ];
    user.run(&pull).succeeded();
    user.run(&["verify", "out"]).succeeded();
}

#[test]
fn the_files_of_a_layout_are_read_in_one_way() {
    let user = new_user();
    let layout = user.path("layout");
    let layer = add_blob(&layout, LAYER, &tar_of("f", "good"));
    layout_of(&user, &layer, layer["digest"].as_str().expect("a digest"));
    let change = |file: &str, members: &'static str| {
        let path = layout.join(file);
        let plain = fs::read_to_string(&path).expect("it is there");
        fs::write(&path, with(members)(&plain)).expect("can be written");
        let ran = user.run(&["verify", "layout"]);
        fs::write(&path, plain).expect("can be written");
        ran
    };
    user.run(&["verify", "layout"]).succeeded();
    change("index.json", r#""Manifests":[]"#).failed(&["index.json", "\"Manifests\""]);
    change("index.json", r#""x":{"a":1,"a":2}"#).failed(&[
        "index.json",
        "valid JSON of an image index",
        "\"a\"",
    ]);
    change("oci-layout", r#""imagelayoutversion":"1.0.0""#).failed(&["oci-layout"]);
    let marker = r#"{"imagelayoutversion":"1.0.0"}"#;
    fs::write(layout.join("oci-layout"), marker).expect("can be written");
    let ran = user.run(&["verify", "layout"]).succeeded();
    assert!(
        ran.stderr.contains("\"imagelayoutversion\""),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_layout_is_of_the_version_that_is_known() {
    let user = new_user();
    let layout = user.path("layout");
    let layer = add_blob(&layout, LAYER, &tar_of("f", "good"));
    layout_of(&user, &layer, layer["digest"].as_str().expect("a digest"));
    let commands = [
        &["verify", "layout"][..],
        &["layout", "rootfs", "layout", "--tar", "root"],
        &["layout", "file", "layout", "--path", "/f", "--output", "f"],
        &[
            "layout", "archive", "layout", "--format", "oci", "--output", "a",
        ],
        &["layout", "complete", "layout", "--output", "c"],
    ];
    for (marker, says) in [
        (r#"{"imageLayoutVersion":"2.0.0"}"#, "\"2.0.0\""),
        (
            r#"{"imageLayoutVersion":"1.0.0","imageLayoutVersion":"1.0.0"}"#,
            "twice",
        ),
        ("", "oci-layout"),
    ] {
        fs::write(layout.join("oci-layout"), marker).expect("can be written");
        for command in commands {
            user.run(command).failed(&["oci-layout", says]);
        }
    }
    fs::remove_file(layout.join("oci-layout")).expect("it is there");
    for command in commands {
        user.run(command).failed(&["has no file oci-layout"]);
    }
}

#[test]
fn a_file_that_some_read_instead_of_the_index_is_told() {
    let user = new_user();
    let layout = user.path("layout");
    let layer = add_blob(&layout, LAYER, &tar_of("f", "good"));
    layout_of(&user, &layer, layer["digest"].as_str().expect("a digest"));
    fs::write(layout.join("manifest.json"), "[]").expect("can be written");
    let ran = user.run(&["verify", "layout"]).succeeded();
    assert!(
        ran.stderr.contains("warning: manifest.json: "),
        "{}",
        ran.stderr
    );
}

#[test]
fn an_artifact_without_a_platform_is_not_listed_before_an_image() {
    let index = |entries: fn(Value, Value) -> Vec<Value>| {
        let (mut content, image) = content(same, same);
        let image = content.add(MANIFEST, image.into_bytes());
        let config = content.add(EMPTY, b"{}".to_vec());
        let layer = content.add(LAYER, tar_of("f", "evil"));
        let artifact = manifest_of(&config, &[layer]).to_string().into_bytes();
        let artifact = content.add(MANIFEST, artifact);
        let evil = text(&artifact["digest"]).to_owned();
        let entries = entries(artifact, for_platform(&image, "amd64"));
        let index = json!({"schemaVersion": 2, "manifests": entries}).to_string();
        (content.with_root(INDEX, index.into_bytes()), evil)
    };
    let (content, evil) = index(|artifact, image| vec![artifact, image]);
    for more in [&[][..], &["--platform", "linux/amd64"]] {
        pull(&new_user(), content.clone(), more).failed(&[
            &evil,
            "without a platform",
            "linux/amd64",
        ]);
    }
    let (content, _) = index(|artifact, image| vec![image, artifact]);
    let user = new_user();
    pull(&user, content, &[]).succeeded();
    user.run(&["verify", "out"]).succeeded();
    // A layout's own list chooses nothing.
    let entries = fs::read(user.path("out/index.json")).expect("it is there");
    let entries: Value = serde_json::from_slice(&entries).expect("it is JSON");
    assert_eq!(platforms(&user), ["amd64"], "{entries}");
}

/// Where an entry stands is a matter of the index that lists it, and of each that does.
#[test]
fn an_artifact_in_several_indexes_is_judged_in_each() {
    let (mut content, image) = content(same, same);
    let image = content.add(MANIFEST, image.into_bytes());
    let image = for_platform(&image, "amd64");
    let config = content.add(EMPTY, b"{}".to_vec());
    let layer = content.add(LAYER, tar_of("f", "evil"));
    let artifact = manifest_of(&config, &[layer]).to_string().into_bytes();
    let artifact = content.add(MANIFEST, artifact);
    let evil = text(&artifact["digest"]).to_owned();
    let before = vec![artifact.clone(), image.clone()];
    let behind = vec![image.clone(), artifact.clone()];
    for (indexes, is_refused) in [
        ([vec![artifact.clone()], vec![image.clone()]], true),
        ([vec![image.clone()], vec![artifact.clone()]], false),
        ([behind.clone(), vec![image]], false),
        ([behind, before.clone()], true),
        ([vec![artifact], before], true),
    ] {
        let mut content = content.clone();
        let listed = indexes.map(|entries| {
            let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries});
            content.add(INDEX, index.to_string().into_bytes())
        });
        let root = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": listed});
        let content = content.with_root(INDEX, root.to_string().into_bytes());
        for more in [&[][..], &["--platform", "linux/amd64"]] {
            let ran = pull(&new_user(), content.clone(), more);
            if is_refused {
                ran.failed(&[&evil, "without a platform", "linux/amd64"]);
            } else {
                ran.succeeded();
            }
        }
    }
}

#[test]
fn what_is_built_has_a_media_type() {
    let user = new_user();
    let (_, manifest) = content(same, same);
    fs::write(user.path("manifest"), &manifest).expect("can be written");
    let root = json!({"digest": digest(manifest.as_bytes()), "size": manifest.len()});
    fs::write(user.path("root"), root.to_string()).expect("can be written");
    let merge = ["layout", "merge", "--root", "root", "--output", "merged"];
    user.run(&merge).failed(&["root", "has no mediaType"]);
}

#[test]
fn a_date_that_is_none_is_told() {
    let user = new_user();
    let (content, _) = content(with(r#""created":"yesterday""#), same);
    pull(&user, content, &[]).succeeded();
    let ran = user.run(&["verify", "out"]).succeeded();
    assert!(
        ran.stderr.contains("warning: sha256:") && ran.stderr.contains(r#""yesterday""#),
        "{}",
        ran.stderr
    );
    let user = new_user();
    let history = r#""history":[{"created":"2026-01-31T12:00:00Z"},{"created":"today"}]"#;
    let (content, _) = self::content(with(history), same);
    pull(&user, content, &[]).succeeded();
    let ran = user.run(&["verify", "out"]).succeeded();
    assert!(
        ran.stderr.contains(r#""today" is no time"#),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_length_that_is_wrong_does_not_hide_a_manifest_that_is_whole() {
    let (content, _) = content(same, same);
    let image = content.digest.clone();
    let manifest = content.answer_to(&image);
    let registry = Faulty::start(content, move |seen, answer| {
        if seen.path.contains("/manifests/") {
            manifest.clone().header("Content-Length", "100000")
        } else {
            answer
        }
    });
    let user = new_user();
    let name = format!("{}/image", registry.host());
    for command in [
        &["pull", &format!("{name}@{image}"), "--output", "out"][..],
        &["resolve", &format!("{name}:1")],
    ] {
        user.run(command).succeeded();
    }
    let manifests = registry.requests();
    let manifests = manifests.iter();
    let manifests = manifests.filter(|request| request.path.contains("/manifests/"));
    assert_eq!(manifests.count(), 2);
}

/// Without a digest, an object may be whole and lack what is behind it: the registry is asked for what came, by its digest.
#[test]
fn a_length_that_is_wrong_does_not_hide_what_a_tag_points_to() {
    for (lacks, requests) in [(0, 2), (1, 4)] {
        let (mut content, manifest) = content(same, same);
        let manifest = format!("{manifest}\n\n");
        content.add(MANIFEST, manifest.clone().into_bytes());
        let data = manifest.clone().into_bytes();
        let registry = Faulty::start(content, move |seen, answer| {
            if !seen.path.ends_with("/manifests/1") {
                return answer;
            }
            let lacks = if seen.earlier == 0 { lacks } else { 0 };
            Answer::new(200, &data[..data.len() - lacks]).header("Content-Length", "100000")
        });
        let ran = new_user().run(&["resolve", &format!("{}/image:1", registry.host())]);
        let resolved = ran.succeeded().stdout;
        assert!(
            resolved.contains(&digest(manifest.as_bytes())),
            "{resolved}"
        );
        let seen = registry.seen();
        let manifests = seen.iter().filter(|seen| seen.path.contains("/manifests/"));
        assert_eq!(manifests.count(), requests);
    }
}

/// What is asked of a registry whose every manifest is sent as this makes it, with and without its digest.
fn sent_as(spoil: fn(Answer) -> Answer) -> (String, Vec<Ran>) {
    let (content, _) = content(same, same);
    let image = content.digest.clone();
    let manifest = content.answer_to(&image);
    let registry = Faulty::start(content, move |seen, answer| {
        if !seen.path.contains("/manifests/") {
            return answer;
        }
        assert_eq!(seen.headers["accept-encoding"], "identity");
        let mut answer = manifest.clone();
        answer
            .headers
            .retain(|(name, _)| name != "Docker-Content-Digest");
        let answer = spoil(answer);
        let length = answer.body.len().to_string();
        answer.header("Content-Length", length)
    });
    let name = format!("{}/image", registry.host());
    let pull = ["pull", &format!("{name}@{image}"), "--output", "out"];
    let resolve = ["resolve", &format!("{name}:1")];
    let ran = [&pull[..], &resolve].map(|command| new_user().run(command));
    (registry.host(), ran.into())
}

/// Go's clients ask for gzip themselves, and take it from who sends it unasked.
#[test]
fn what_is_compressed_on_its_way_is_what_it_was_before() {
    for (coding, decoded) in [
        ("gzip", true),
        ("X-GZip", true),
        ("gzip, identity", true),
        ("br", false),
        ("gzip, gzip", false),
    ] {
        let (host, ran) = match coding {
            "gzip" => sent_as(|answer| compressed(answer, "gzip")),
            "X-GZip" => sent_as(|answer| compressed(answer, "X-GZip")),
            "gzip, identity" => sent_as(|answer| compressed(answer, "gzip, identity")),
            "br" => sent_as(|answer| compressed(answer, "br")),
            _ => sent_as(|answer| compressed(answer, "gzip, gzip")),
        };
        for ran in ran {
            if decoded {
                ran.succeeded();
            } else {
                ran.failed(&[&format!("what {host} sent is encoded ({coding})")]);
            }
        }
    }
    // What says so, and is not, has the right digest.
    let (_, ran) = sent_as(|answer| answer.header("Content-Encoding", "gzip"));
    for ran in ran {
        ran.succeeded();
    }
    // However much it is.
    let (_, ran) = sent_as(|mut answer| {
        answer.body = vec![b' '; 5 << 20];
        compressed(answer, "gzip")
    });
    for ran in ran {
        ran.failed(&["sends more than the limit of 4194304 bytes"]);
    }
    // One that is cut, and one in two lines.
    let (host, ran) = sent_as(|answer| {
        let mut answer = compressed(answer, "gzip");
        answer.body.truncate(answer.body.len() - 9);
        answer
    });
    for ran in ran {
        ran.failed(&[&format!("what {host} sent is no whole gzip")]);
    }
    let (_, ran) = sent_as(|answer| {
        let mut answer = compressed(answer, "br");
        let line = ("Content-Encoding".to_owned(), "gzip".to_owned());
        answer.headers.push(line);
        answer
    });
    for ran in ran {
        ran.failed(&["is encoded (br, gzip)"]);
    }
}

/// The size and the digest of a blob are those of what is sent.
#[test]
fn a_blob_that_is_compressed_on_its_way_is_told() {
    for has_length in [true, false] {
        let (content, manifest) = content(same, same);
        let image = content.digest.clone();
        let manifest: Value = serde_json::from_str(&manifest).expect("it is JSON");
        let config = text(&manifest["config"]["digest"]).to_owned();
        let registry = Faulty::start(content, move |seen, answer| {
            if !seen.path.ends_with(&config) {
                return answer;
            }
            let mut answer = compressed(answer, "gzip");
            answer.headers.retain(|(name, _)| name != "Content-Length");
            let length = answer.body.len().to_string();
            if has_length {
                answer = answer.header("Content-Length", length);
            }
            answer
        });
        let reference = format!("{}/image@{image}", registry.host());
        let pull = ["pull", &reference, "--output", "out"];
        new_user()
            .run(&pull)
            .failed(&["blob sha256:", "is encoded (gzip)"]);
    }
}

fn compressed(mut answer: Answer, coding: &str) -> Answer {
    answer.body = gzip(&answer.body);
    answer.header("Content-Encoding", coding)
}

/// Nothing else says what is wrong with what a tag points to.
#[test]
fn who_sends_what_is_no_manifest_is_told_with_what_it_is() {
    type Spoil = fn(Answer) -> Answer;
    let cases: [(Spoil, &str); 4] = [
        (
            |mut answer| {
                answer.body.splice(0..0, *b"\xef\xbb\xbf");
                answer
            },
            "begins with a byte order mark",
        ),
        (
            |mut answer| {
                answer.body = b"[{}]".to_vec();
                answer
            },
            "is JSON, but no object",
        ),
        (
            |answer| answer.cut(20, End::Close),
            "is JSON that ends early, after 20 bytes",
        ),
        (
            |mut answer| {
                answer.body[1] = b'x';
                answer
            },
            "is not valid JSON: see line 1, column 2",
        ),
    ];
    for (spoil, told) in cases {
        let (host, ran) = sent_as(spoil);
        let sent = format!("what {host} sent ");
        for (number, ran) in ran.into_iter().enumerate() {
            let is_object = told.contains("ends early") || told.contains("not valid");
            let told = if number == 0 && is_object {
                "has the digest"
            } else {
                told
            };
            ran.failed(&[&sent, told]);
        }
    }
}

/// go-containerregistry takes what has no platform for an image for linux/amd64, whatever its config says.
#[test]
fn an_image_without_a_platform_is_not_listed_before_another_one() {
    // Each manifest has a config that says this platform.
    let listed = |entries: &[(&str, bool)]| {
        let (mut content, _) = content(same, same);
        let entries: Vec<Value> = entries
            .iter()
            .map(|(platform, is_told)| {
                let mut platform = platform.split('/');
                let mut next = || platform.next().unwrap_or_default();
                let mut config = json!({"os": next(), "architecture": next(), "variant": next()});
                config["rootfs"] = json!({"type": "layers", "diff_ids": []});
                let config = content.add(CONFIG, config.to_string().into_bytes());
                let manifest = manifest_of(&config, &[]).to_string().into_bytes();
                let entry = content.add(MANIFEST, manifest);
                if *is_told {
                    for_platform(&entry, "amd64")
                } else {
                    entry
                }
            })
            .collect();
        let index = json!({"schemaVersion": 2, "manifests": entries}).to_string();
        content.with_root(INDEX, index.into_bytes())
    };
    for first in ["linux/arm64", "/amd64", "linux/amd64/v3", "windows/amd64"] {
        for is_told in [true, false] {
            let entries = [(first, false), ("linux/amd64", is_told)];
            for more in [&[][..], &["--platform", "linux/amd64"]] {
                let ran = pull(&new_user(), listed(&entries), more);
                ran.failed(&["without a platform", "linux/amd64"]);
            }
        }
    }
    for entries in [
        [("linux/amd64", false), ("linux/arm64", false)],
        [("linux/amd64", true), ("linux/arm64", false)],
        [("linux/amd64/v1", false), ("linux/amd64/v1", true)],
    ] {
        let user = new_user();
        pull(&user, listed(&entries), &[]).succeeded();
        user.run(&["verify", "out"]).succeeded();
    }
}

/// What lists an image and another one.
type Entries = fn(&mut Content, Value, Value) -> Vec<Value>;

/// The same entry with another media type.
fn as_media_type(entry: &Value, media_type: &str) -> Value {
    let mut entry = entry.clone();
    entry["mediaType"] = json!(media_type);
    entry
}

/// An index of these entries, as an entry.
fn nested(content: &mut Content, entries: &[&Value]) -> Value {
    let index = json!({"schemaVersion": 2, "manifests": entries}).to_string();
    content.add(INDEX, index.into_bytes())
}

/// What go-containerregistry takes for linux/amd64 is what we take, whatever its media type and wherever it is listed.
#[test]
fn nothing_else_is_listed_before_an_image() {
    let listed = |entries: Entries| {
        let (mut content, image) = content(same, same);
        let image = content.add(MANIFEST, image.into_bytes());
        let amd64 = json!({"os": "linux", "architecture": "amd64"});
        let other = other_image(&mut content, &amd64);
        let entries = entries(&mut content, image, other);
        let index = json!({"schemaVersion": 2, "manifests": entries}).to_string();
        content.with_root(INDEX, index.into_bytes())
    };
    let cases: [Entries; 8] = [
        |_, good, evil| vec![as_media_type(&evil, ""), for_platform(&good, "amd64")],
        |_, good, evil| vec![as_media_type(&evil, "application/json"), good],
        |_, good, evil| {
            let parameter = format!("{MANIFEST}; charset=utf-8");
            vec![
                as_media_type(&evil, &parameter),
                for_platform(&good, "amd64"),
            ]
        },
        |content, good, evil| {
            let inner = nested(content, &[&for_platform(&good, "amd64")]);
            let evil = for_platform(&as_media_type(&evil, "application/json"), "amd64");
            vec![evil, for_platform(&inner, "arm64")]
        },
        |content, good, evil| {
            let inner = nested(content, &[&good]);
            let evil = for_platform(&as_media_type(&evil, "application/json"), "amd64");
            vec![evil, for_platform(&inner, "unknown")]
        },
        |content, good, evil| {
            let evil = for_platform(&as_media_type(&evil, "application/json"), "amd64");
            let inner = nested(content, &[&evil]);
            vec![inner, for_platform(&good, "amd64")]
        },
        |content, good, evil| {
            let evil = as_media_type(&evil, "application/json");
            let inner = nested(content, &[&evil]);
            let inner = nested(content, &[&inner]);
            vec![inner, for_platform(&good, "amd64")]
        },
        |content, good, _| {
            let arm64 = json!({"os": "linux", "architecture": "arm64"});
            let evil = other_image(content, &arm64);
            let inner = nested(content, &[&evil]);
            vec![inner, for_platform(&good, "amd64")]
        },
    ];
    for (number, entries) in cases.into_iter().enumerate() {
        for more in [&[][..], &["--platform", "linux/amd64"]] {
            let ran = pull(&new_user(), listed(entries), more);
            assert!(!ran.success, "{number} {more:?}");
            ran.failed(&["linux/amd64", "some tools take"]);
        }
    }
    let user = new_user();
    let behind = |_: &mut Content, good: Value, evil: Value| {
        vec![
            for_platform(&good, "amd64"),
            as_media_type(&evil, "application/json"),
        ]
    };
    pull(&user, listed(behind), &[]).succeeded();
    user.run(&["verify", "out"]).succeeded();
    assert_eq!(platforms(&user), ["amd64"]);
}

/// Go reads the last of two keys, and what is not UTF-8.
#[test]
fn a_config_that_others_read_is_an_images() {
    let of = |media_type: &str, config: Vec<u8>| {
        let mut content = Content::default();
        let layer = content.add(LAYER, tar_of("f", "good"));
        let config = content.add(media_type, config);
        let manifest = manifest_of(&config, &[layer]).to_string();
        content.with_root(MANIFEST, manifest.into_bytes())
    };
    let diff_id = digest(&tar_of("f", "good"));
    let rootfs = format!(r#""rootfs":{{"type":"layers","diff_ids":["{diff_id}"]}}"#);
    let image = r#"{"os":"linux","architecture":"amd64","#;
    let mut latin = format!(r#"{image}"author":"?",{rootfs}}}"#).into_bytes();
    let place = latin.iter().position(|byte| *byte == b'?');
    latin[place.expect("it is there")] = 0xe9;
    for config in [
        format!(r#"{image}"config":{{"User":"1","user":"0"}},{rootfs}}}"#).into_bytes(),
        format!("{image}{}}}", rootfs.replace("layers", "LAYERS")).into_bytes(),
        latin,
    ] {
        for media_type in [CONFIG, "application/json"] {
            let ran = pull(&new_user(), of(media_type, config.clone()), &[]);
            ran.failed(&["config", "cannot be used"]);
        }
    }
    // What is of another type is no image to Go either.
    let user = new_user();
    let config = br#"{"kind": "model", "config": "a text"}"#.to_vec();
    pull(&user, of("application/json", config), &[]).succeeded();
    for (key, value) in [
        ("author", "5"),
        ("history", r#"[{"comment":1}]"#),
        ("config", r#"{"OnBuild":"a"}"#),
        ("config", r#"{"Tty":"yes"}"#),
        ("config", r#"{"Shell":{}}"#),
        ("config", r#"{"Healthcheck":{"Interval":"30s"}}"#),
    ] {
        let config = format!(r#"{image}"{key}":{value},{rootfs}}}"#);
        pull(&new_user(), of(CONFIG, config.into_bytes()), &[]).failed(&["cannot be used"]);
    }
}

#[test]
fn what_is_listed_for_a_platform_that_is_asked_for_is_an_image() {
    let (mut content, image) = content(same, same);
    let image = content.add(MANIFEST, image.into_bytes());
    let config = content.add(EMPTY, b"{}".to_vec());
    let layer = content.add("application/json", b"{}".to_vec());
    let artifact = manifest_of(&config, &[layer]).to_string().into_bytes();
    let artifact = content.add(MANIFEST, artifact);
    let entries = [
        for_platform(&image, "amd64"),
        for_platform(&artifact, "arm64"),
    ];
    let index = json!({"schemaVersion": 2, "manifests": entries}).to_string();
    let content = content.with_root(INDEX, index.into_bytes());
    pull(&new_user(), content.clone(), &["--platform", "linux/amd64"]).succeeded();
    for more in [
        &["--platform", "linux/arm64"][..],
        &["--platform", "linux/arm64", "--platform", "linux/amd64"],
    ] {
        let ran = pull(&new_user(), content.clone(), more);
        ran.failed(&["has none for linux/arm64", "linux/amd64"]);
    }
}

/// An index of these entries of one image.
fn index_of(entries: &[Value]) -> Content {
    let (content, _) = content(same, same);
    let image = content.descriptor(&content.digest.clone());
    let entries: Vec<Value> = entries
        .iter()
        .map(|more| {
            let mut entry = image.clone();
            for (key, value) in more.as_object().expect("an object") {
                entry[key] = value.clone();
            }
            entry
        })
        .collect();
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries});
    content.with_root(INDEX, index.to_string().into_bytes())
}

/// What a pull leaves out may be all of an index that another one lists.
#[test]
fn a_nested_index_may_be_left_out() {
    let (mut content, image) = content(same, same);
    let layer = digest(&tar_of("f", "good"));
    let image = content.add(MANIFEST, image.into_bytes());
    let [arm64, s390x] = ["arm64", "s390x"].map(|architecture| {
        let image = other_image(&mut content, &json!({"architecture": architecture}));
        for_platform(&image, architecture)
    });
    let inner = nested(&mut content, &[&arm64, &s390x]);
    let entries = [for_platform(&image, "amd64"), inner];
    let index = json!({"schemaVersion": 2, "manifests": entries}).to_string();
    let content = content.with_root(INDEX, index.into_bytes());
    for (platform, held) in [("linux/amd64", "amd64"), ("linux/arm64", "arm64")] {
        let user = new_user();
        pull(&user, content.clone(), &["--platform", platform]).succeeded();
        assert_eq!(platforms(&user), [held]);
        user.run(&["verify", "out", "--sparse"]).succeeded();
        user.run(&["verify", "out"])
            .failed(&["it is valid with --sparse"]);
        user.run(&["layout", "complete", "out", "--output", "whole"])
            .succeeded();
        user.run(&["verify", "whole", "--sparse"]).succeeded();
    }
    let user = new_user();
    pull(&user, content.clone(), &["--platform", "linux/amd64"]).succeeded();
    let blob = |digest: &str| user.path(&format!("out/blobs/{}", digest.replace(':', "/")));
    fs::remove_file(blob(&layer)).expect("it was there");
    user.run(&["verify", "out", "--sparse"])
        .failed(&[&layer, "it is missing"]);
    fs::remove_file(blob(text(&image["digest"]))).expect("it was there");
    user.run(&["verify", "out", "--sparse"])
        .failed(&[text(&image["digest"]), "it is missing"]);
    user.run(&["layout", "complete", "out", "--output", "part"])
        .failed(&[text(&image["digest"])]);
}

/// An image of an index that is there with a part of its layers is not one that was left out.
#[test]
fn half_an_image_was_not_left_out() {
    let mut content = Content::default();
    let [shared, own, lost] =
        ["shared", "own", "lost"].map(|text| content.add(LAYER, tar_of(text, text)));
    let image = |content: &mut Content, layers: &[&Value], architecture: &str| {
        let layers: Vec<Value> = layers.iter().map(|layer| (*layer).clone()).collect();
        let mut config = config_of(&layers);
        config["architecture"] = architecture.into();
        let config = content.add(CONFIG, config.to_string().into_bytes());
        let manifest = manifest_of(&config, &layers).to_string().into_bytes();
        for_platform(&content.add(MANIFEST, manifest), architecture)
    };
    for (layers, is_left_out) in [([&shared, &lost], true), ([&own, &lost], false)] {
        let mut content = content.clone();
        let entries = [
            image(&mut content, &[&shared], "amd64"),
            image(&mut content, &layers, "arm64"),
        ];
        let index = json!({"schemaVersion": 2, "manifests": entries}).to_string();
        let user = new_user();
        pull(&user, content.with_root(INDEX, index.into_bytes()), &[]).succeeded();
        let lost = text(&lost["digest"]).replace(':', "/");
        fs::remove_file(user.path(&format!("out/blobs/{lost}"))).expect("it was there");
        let ran = user.run(&["verify", "out", "--sparse"]);
        assert_eq!(ran.success, is_left_out, "{}", ran.stderr);
    }
}

/// Whether each command takes the layout `out`, which lacks these; all say which of them they need.
fn is_taken_by_all(user: &User, gone: &[&Value]) -> bool {
    let archive = [
        "layout", "archive", "out", "--format", "oci", "--output", "tar",
    ];
    let commands = [
        &["verify", "out", "--sparse"][..],
        &["layout", "complete", "out", "--output", "whole"],
        &archive,
    ];
    let taken = commands.map(|command| {
        let ran = user.run(command);
        let is_named = |gone: &&Value| ran.stderr.contains(text(&gone["digest"]));
        assert!(
            ran.success || (gone.iter().any(is_named) && ran.stderr.contains("needs it")),
            "{}",
            ran.stderr
        );
        ran.success
    });
    assert!(
        taken.iter().all(|is_taken| *is_taken == taken[0]),
        "{taken:?}: {gone:?}"
    );
    if taken[0] {
        user.run(&["verify", "whole", "--sparse"]).succeeded();
        let archive = |platform| user.run(&[&archive[..], &["--platform", platform]].concat());
        archive("linux/amd64").succeeded();
        archive("linux/arm64").failed(&["the layout has no image for linux/arm64: it "]);
        fs::remove_dir_all(user.path("whole")).expect("is there");
    }
    taken[0]
}

/// What is left out is left out beside an image, of each index, and never of what refers to one.
#[test]
fn what_is_lost_was_not_left_out() {
    let user = new_user();
    let layout = user.path("out");
    let add_image = |architecture: &str| {
        let layer = add_blob(&layout, LAYER, &tar_of("f", architecture));
        let mut config = config_of(std::slice::from_ref(&layer));
        config["architecture"] = architecture.into();
        let config = add_blob(&layout, CONFIG, config.to_string().as_bytes());
        let manifest = manifest_of(&config, std::slice::from_ref(&layer)).to_string();
        let entry = add_blob(&layout, MANIFEST, manifest.as_bytes());
        (for_platform(&entry, architecture), layer, config)
    };
    let add_artifact = |content: &str| {
        let layer = add_blob(&layout, "application/x", content.as_bytes());
        let config = add_blob(&layout, EMPTY, b"{}");
        let manifest = manifest_of(&config, std::slice::from_ref(&layer)).to_string();
        (add_blob(&layout, MANIFEST, manifest.as_bytes()), layer)
    };
    let add_index = |entries: &[&Value]| {
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries});
        add_blob(&layout, INDEX, index.to_string().as_bytes())
    };
    let named = |mut entry: Value, name: &str| {
        entry["annotations"] = json!({"org.opencontainers.image.ref.name": name});
        entry
    };
    let (amd64, one, _) = add_image("amd64");
    let (arm64, other, config) = add_image("arm64");
    let (artifact, _) = add_artifact("x");
    let soci = for_platform(&artifact, "amd64");
    let (signature, lost) = add_artifact("y");
    let mut attestation = signature.clone();
    attestation["platform"] = json!({"os": "unknown", "architecture": "unknown"});
    let attested = add_index(&[&amd64, &attestation]);
    let silent = add_index(&[&amd64, &signature]);
    let all = add_index(&[&amd64, &arm64, &soci]);
    let alone = named(add_index(&[&arm64]), "alone");
    let referring = add_index(&[&artifact, &signature]);
    let referring = named(referring, &text(&amd64["digest"]).replace(':', "-"));
    for (roots, gone, is_valid) in [
        (&[&all][..], &[&other][..], true),
        // An artifact is no image.
        (&[&all], &[&one, &other], false),
        (&[&all], &[&amd64, &arm64], false),
        // Who asks for the other index finds nothing.
        (&[&all, &alone], &[&other], false),
        (&[&alone, &all], &[&other], false),
        (&[&all, &referring], &[&lost], false),
        (&[&all, &referring], &[&signature], false),
        // An export takes along what tells for which platform an image is.
        (&[&all], &[&other, &config], true),
        (&[&all], &[&config], false),
        (&[&silent], &[&lost], true),
        // Of what is for no platform, nobody asks that.
        (&[&attested], &[&lost], false),
        (&[&attested], &[&attestation], true),
        // What the layout itself lists is what somebody wanted.
        (&[&all, &alone], &[&alone], false),
        (&[&amd64, &all], &[&amd64], false),
        (&[&amd64], &[&one], false),
    ] {
        let roots: Vec<Value> = roots.iter().map(|root| (*root).clone()).collect();
        write_index(&layout, &roots);
        let paths = gone.iter().map(|blob| {
            layout
                .join("blobs")
                .join(text(&blob["digest"]).replace(':', "/"))
        });
        let kept: Vec<_> = paths
            .map(|path| (fs::read(&path).expect("is there"), path))
            .collect();
        for (_, path) in &kept {
            fs::remove_file(path).expect("is there");
        }
        assert_eq!(is_taken_by_all(&user, gone), is_valid, "{gone:?}");
        for (bytes, path) in kept {
            fs::write(path, bytes).expect("can be written");
        }
        user.run(&["verify", "out"]).succeeded();
    }
}

/// The lines that `verify` says of the layout `out` with this in them.
fn verified(user: &User, part: &str) -> Vec<String> {
    let said = user.run(&["verify", "out"]).stderr;
    let lines = said.lines().filter(|line| line.contains(part));
    lines.map(str::to_owned).collect()
}

/// The reason is that of the index that lists it, and is said once.
#[test]
fn what_is_refused_is_told_once() {
    let user = new_user();
    let layout = user.path("out");
    let image = |more: Value| {
        let layer = add_blob(&layout, LAYER, &tar_of("f", "good"));
        let mut config = config_of(std::slice::from_ref(&layer));
        config["author"] = more;
        let config = add_blob(&layout, CONFIG, config.to_string().as_bytes());
        let manifest = manifest_of(&config, &[layer]).to_string();
        for_platform(&add_blob(&layout, MANIFEST, manifest.as_bytes()), "amd64")
    };
    let good = image(json!("a"));
    let config = add_blob(&layout, EMPTY, b"{}");
    let layer = add_blob(&layout, "application/x", b"x");
    let manifest = manifest_of(&config, &[layer]).to_string();
    let artifact = add_blob(&layout, MANIFEST, manifest.as_bytes());
    let artifact = for_platform(&artifact, "amd64");
    let index = |entries: &[&Value]| {
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries});
        add_blob(&layout, INDEX, index.to_string().as_bytes())
    };
    let inner = index(&[&artifact]);
    for (root, why) in [
        (index(&[&artifact, &good]), "the first of both"),
        (index(&[&good, &inner]), "which lists no image for that"),
        (index(&[&inner, &good]), "which lists no image for that"),
    ] {
        write_index(&layout, &[root]);
        let lines = verified(&user, text(&artifact["digest"]));
        assert!(
            lines.len() == 1 && lines[0].contains("error") && lines[0].contains(why),
            "{lines:?}"
        );
    }
    // Nobody looks at features.
    let images: Vec<Value> = ["a", "b", "c"]
        .iter()
        .map(|feature| {
            let mut image = image(json!(feature));
            image["platform"]["os.features"] = json!([feature]);
            image["platform"]["os.version"] = json!(feature);
            image
        })
        .collect();
    let all: Vec<&Value> = images.iter().collect();
    write_index(&layout, &[index(&all)]);
    let lines = verified(&user, "it lists several manifests for linux/amd64");
    assert_eq!(lines.len(), 1, "{lines:?}");
    let images = images.iter().map(|image| {
        let mut image = image.clone();
        image["platform"]["os.version"] = Value::Null;
        image
    });
    write_index(&layout, &images.collect::<Vec<_>>());
    user.run(&["layout", "rootfs", "out", "--output", "root"])
        .failed(&["the layout has 3 images, for linux/amd64: "]);
}

#[test]
fn an_image_listed_with_and_without_its_platform_is_one() {
    let platform = json!({"platform": {"os": "linux", "architecture": "amd64"}});
    let user = new_user();
    pull(&user, index_of(&[json!({}), platform]), &[]).succeeded();
    assert_eq!(platforms(&user), ["amd64"]);
    user.run(&["verify", "out"]).succeeded();
}

#[test]
fn an_empty_index_is_pulled_and_told() {
    let user = new_user();
    pull(&user, index_of(&[]), &[]).succeeded();
    assert_eq!(platforms(&user), Vec::<String>::new());
    let ran = user.run(&["verify", "out"]).succeeded();
    assert!(
        ran.stderr.contains("it lists no manifests"),
        "{}",
        ran.stderr
    );
}

#[test]
fn an_image_of_a_higher_variant_before_the_plain_one_is_told() {
    let told = |architecture: &str, order: [&str; 2]| {
        let (content, _) = index_for(&order.map(|variant| (None, linux(architecture, variant))));
        let user = new_user();
        pull(&user, content, &[]).succeeded();
        let said = user.run(&["verify", "out"]).succeeded().stderr;
        let told = format!("before that for linux/{architecture}: some tools take the first");
        said.contains(&told)
    };
    for (architecture, variant) in [
        ("amd64", "v2"),
        ("amd64", "v0"),
        ("amd64", "another"),
        ("arm64", "v8.1"),
        ("riscv64", "rva20u64"),
    ] {
        assert!(told(architecture, [variant, ""]), "{variant}");
        assert!(!told(architecture, ["", variant]), "{variant}");
    }
}

#[test]
fn a_name_that_a_layout_gives_twice_is_told() {
    let user = new_user();
    let layout = user.path("out");
    let (content, _) = index_for(&[(None, linux("amd64", "")), (None, linux("arm64", ""))]);
    pull(&user, content, &[]).succeeded();
    let index = fs::read(layout.join("index.json")).expect("can be read");
    let index: Value = serde_json::from_slice(&index).expect("it is JSON");
    let mut roots = vec![index["manifests"][0].clone()];
    for image in summary(&user)["images"].as_array().expect("a list") {
        roots.push(image["manifest"].clone());
    }
    for (names, is_told) in [(["1", "1", "2"], true), (["1", "2", "3"], false)] {
        for (root, name) in roots.iter_mut().zip(names) {
            root["annotations"] = json!({"org.opencontainers.image.ref.name": name});
        }
        write_index(&layout, &roots);
        let said = user.run(&["verify", "out"]).succeeded().stderr;
        assert_eq!(said.contains("not the only one of the name \"1\""), is_told);
    }
}

/// Each is compared with few others.
#[test]
fn an_index_of_very_many_images_of_one_processor_is_judged_at_once() {
    let listed = |variants: &dyn Fn(usize) -> String| {
        let (mut content, _) = content(same, same);
        let image = other_image(&mut content, &linux("riscv64", ""));
        let entry = |number| {
            let mut entry = image.clone();
            entry["platform"] = linux("riscv64", &variants(number));
            entry
        };
        let index =
            json!({"schemaVersion": 2, "manifests": (0..1_000).map(entry).collect::<Vec<_>>()});
        content.with_root(INDEX, index.to_string().into_bytes())
    };
    let user = new_user();
    pull(&user, listed(&|number| format!("x{number}")), &[]).succeeded();
    let ran = pull(&new_user(), listed(&|number| format!("X{number}")), &[]);
    ran.failed(&["one of more than 100 images for variants"]);
}

#[test]
fn two_images_of_one_platform_in_nested_indexes_are_told() {
    let told = |architectures: [&str; 2]| {
        let (mut content, _) = content(same, same);
        let mut number = 0;
        let indexes = architectures.map(|architecture| {
            number += 1;
            let config = json!({"architecture": architecture, "author": format!("{number}")});
            let entry = other_image(&mut content, &config);
            nested(&mut content, &[&for_platform(&entry, architecture)])
        });
        let index = json!({"schemaVersion": 2, "manifests": indexes}).to_string();
        let user = new_user();
        pull(&user, content.with_root(INDEX, index.into_bytes()), &[]).succeeded();
        let said = user.run(&["verify", "out"]).succeeded().stderr;
        said.contains("it lists several manifests for linux/arm64")
    };
    assert!(!told(["arm64", "s390x"]));
    assert!(told(["arm64", "arm64"]));
}

/// Pulls an index that lists two images for linux/amd64 in this way, which it returns.
fn pull_two(user: &User, entries: Entries, more: &[&str]) -> (Ran, [Value; 2]) {
    let (mut content, _) = content(same, same);
    let images =
        ["first", "second"].map(|author| other_image(&mut content, &json!({"author": author})));
    let [first, second] = images.clone();
    let entries = entries(&mut content, first, second);
    let index = json!({"schemaVersion": 2, "manifests": entries}).to_string();
    let content = content.with_root(INDEX, index.into_bytes());
    (pull(user, content, more), images)
}

/// crane, containerd, podman and regctl go into a nested index where it is listed.
#[test]
fn the_first_of_two_images_is_that_which_others_take() {
    let taken: [Entries; 5] = [
        |content, first, second| {
            let inner = nested(content, &[&for_platform(&first, "amd64")]);
            vec![
                for_platform(&inner, "amd64"),
                for_platform(&second, "amd64"),
            ]
        },
        |content, first, second| {
            let inner = nested(content, &[&for_platform(&first, "amd64")]);
            let outer = nested(content, &[&for_platform(&inner, "amd64")]);
            vec![
                for_platform(&outer, "amd64"),
                for_platform(&second, "amd64"),
            ]
        },
        |content, first, second| {
            let inner = nested(content, &[&for_platform(&second, "amd64")]);
            vec![for_platform(&first, "amd64"), inner]
        },
        |content, first, second| {
            let [first, second] = [first, second].map(|image| nested(content, &[&image]));
            vec![first, second]
        },
        |_, first, second| vec![for_platform(&first, "amd64"), second],
    ];
    for (number, entries) in taken.into_iter().enumerate() {
        let user = new_user();
        let (ran, [first, second]) = pull_two(&user, entries, &[]);
        ran.succeeded();
        let images = &summary(&user)["images"];
        let digests = [0, 1].map(|at| &images[at]["manifest"]["digest"]);
        assert_eq!(digests, [&first["digest"], &second["digest"]], "{number}");
        let warned = user.run(&["verify", "out"]).succeeded().stderr;
        assert!(warned.contains("several manifests for linux/amd64"));
    }
}

#[test]
fn an_index_names_the_variants_of_its_images() {
    let listed = |count: usize| {
        let (mut content, _) = content(same, same);
        let images: Vec<Value> = (0..count)
            .map(|number| {
                let config = json!({"architecture": "riscv64", "variant": format!("x{number}")});
                let mut entry = other_image(&mut content, &config);
                entry["platform"] = config;
                entry["platform"]["os"] = json!("linux");
                entry
            })
            .collect();
        let images: Vec<&Value> = images.iter().collect();
        let inner = nested(&mut content, &images);
        let index = json!({"schemaVersion": 2, "manifests": [inner]}).to_string();
        content.with_root(INDEX, index.into_bytes())
    };
    pull(&new_user(), listed(100), &[]).succeeded();
    pull(&new_user(), listed(101), &[]).failed(&["one of more than 100 images for variants"]);
}

#[test]
fn two_images_of_which_not_all_take_the_same_are_refused() {
    let refused: [Entries; 9] = [
        // What is for another variant serves its machine as well.
        |content, first, second| {
            let v2 = json!({"os": "linux", "architecture": "amd64", "variant": "v2"});
            let mut first = first;
            first["platform"] = v2;
            let inner = nested(content, &[&first]);
            vec![for_platform(&second, "amd64"), inner]
        },
        |content, first, second| {
            let v2 = json!({"os": "linux", "architecture": "amd64", "variant": "v2"});
            let mut first = first;
            first["platform"] = v2;
            let inner = nested(content, &[&first]);
            vec![
                for_platform(&second, "amd64"),
                for_platform(&inner, "arm64"),
            ]
        },
        |content, first, second| {
            let v2 = json!({"os": "linux", "architecture": "amd64", "variant": "v2"});
            let mut inner = nested(content, &[&for_platform(&second, "amd64")]);
            inner["platform"] = v2;
            vec![for_platform(&first, "amd64"), inner]
        },
        |content, first, second| {
            let inner = nested(content, &[&for_platform(&first, "amd64")]);
            vec![inner, for_platform(&second, "amd64")]
        },
        |content, first, second| {
            let inner = nested(content, &[&for_platform(&first, "amd64")]);
            vec![
                for_platform(&inner, "arm64"),
                for_platform(&second, "amd64"),
            ]
        },
        |content, first, second| {
            let inner = nested(content, &[&for_platform(&first, "amd64")]);
            let inner = nested(content, &[&inner, &for_platform(&second, "amd64")]);
            vec![for_platform(&inner, "amd64")]
        },
        |content, first, second| {
            let deep = nested(content, &[&first]);
            let deep = nested(content, &[&for_platform(&deep, "amd64")]);
            let inner = nested(content, &[&for_platform(&second, "amd64")]);
            vec![deep, for_platform(&inner, "amd64")]
        },
        |_, first, second| vec![first, for_platform(&second, "amd64")],
        |content, first, second| {
            let inner = nested(content, &[&for_platform(&first, "amd64")]);
            let mut second = for_platform(&second, "amd64");
            second["platform"]["variant"] = json!("v1");
            vec![for_platform(&inner, "amd64"), second]
        },
    ];
    for entries in refused {
        for more in [&[][..], &["--platform", "linux/amd64"]] {
            let (ran, images) = pull_two(&new_user(), entries, more);
            let [first, second] = [0, 1].map(|at| text(&images[at]["digest"]));
            ran.failed(&[first, "for linux/amd64", "some tools take it", second]);
        }
    }
}

/// An index of images for these platforms, each in an index of its own where that is for another one.
fn index_for(entries: &[(Option<Value>, Value)]) -> (Content, Vec<String>) {
    let (mut content, _) = content(same, same);
    let mut digests = Vec::new();
    let mut listed = Vec::new();
    for (number, (outer, platform)) in entries.iter().enumerate() {
        let mut config = platform.clone();
        config["author"] = json!(format!("{number}"));
        let mut entry = other_image(&mut content, &config);
        digests.push(text(&entry["digest"]).to_owned());
        entry["platform"] = platform.clone();
        if let Some(outer) = outer {
            entry = nested(&mut content, &[&entry]);
            entry["platform"] = outer.clone();
        }
        listed.push(entry);
    }
    let index = json!({"schemaVersion": 2, "manifests": listed}).to_string();
    (content.with_root(INDEX, index.into_bytes()), digests)
}

fn linux(architecture: &str, variant: &str) -> Value {
    json!({"os": "linux", "architecture": architecture, "variant": variant})
}

/// containerd takes what wants no features, of any processor that the machine's own stands for.
#[test]
fn an_image_that_wants_features_of_the_system_is_the_only_one_for_its_machine() {
    let with_features = |architecture: &str, variant: &str| {
        let mut platform = linux(architecture, variant);
        platform["os.features"] = json!(["x"]);
        platform
    };
    for (with, without) in [
        (with_features("amd64", ""), linux("amd64", "")),
        (with_features("amd64", ""), linux("386", "")),
        (with_features("amd64", "v3"), linux("amd64", "")),
        (with_features("arm", "v7"), linux("arm", "v6")),
        (with_features("arm64", ""), linux("arm", "v7")),
    ] {
        let (content, digests) = index_for(&[(None, with.clone()), (None, without)]);
        let ran = pull(&new_user(), content, &[]);
        ran.failed(&[&digests[0], "for its os.features", &digests[1]]);
        let (content, _) = index_for(&[(None, with), (None, linux("s390x", ""))]);
        pull(&new_user(), content, &[]).succeeded();
    }
    // Who takes the first takes the same.
    let (content, _) = index_for(&[
        (None, linux("amd64", "")),
        (None, with_features("amd64", "")),
    ]);
    pull(&new_user(), content, &[]).succeeded();
    let windows = |version: &str| {
        let mut platform = with_features("amd64", "");
        platform["os"] = json!("windows");
        platform["os.version"] = json!(version);
        platform
    };
    let versions = ["10.0.17763.1", "10.0.20348.1"];
    let (content, _) = index_for(&versions.map(|version| (None, windows(version))));
    pull(&new_user(), content, &[]).succeeded();
}

/// crane and regctl look no further than into the first index for a platform, and podman at what lists the two alone.
#[test]
fn an_index_within_another_is_for_what_it_is_listed_for() {
    for (outer, inner, other, first) in [
        (linux("arm", ""), linux("arm", "v7"), linux("arm", "v6"), 0),
        (
            linux("arm64", ""),
            linux("arm64", "v9.2"),
            linux("arm64", ""),
            1,
        ),
        (
            linux("riscv64", ""),
            linux("riscv64", "rva20u64"),
            linux("riscv64", ""),
            1,
        ),
        (linux("386", ""), linux("386", "sse2"), linux("386", ""), 1),
    ] {
        let entries = [(Some(outer), inner), (None, other)];
        let (content, digests) = index_for(&entries);
        let ran = pull(&new_user(), content, &[]);
        ran.failed(&[&digests[first], "some tools take it", &digests[1 - first]]);
        // What serves it as well, some take for its variant.
        let [nested, other] = entries;
        if !nested.1["architecture"].to_string().contains("arm") {
            let (content, _) = index_for(&[other, nested]);
            pull(&new_user(), content, &[]).succeeded();
        }
    }
}

/// Most compare the names of variants.
#[test]
fn a_variant_that_is_written_as_none_is_takes_no_others_place() {
    for (odd, wanted, lower) in [
        (linux("arm", "v07"), "linux/arm/v7", linux("arm", "v6")),
        (linux("amd64", "v2.0"), "linux/amd64/v3", linux("amd64", "")),
        (
            linux("amd64", "v03"),
            "linux/amd64/v3",
            linux("amd64", "v2"),
        ),
        (
            linux("arm64", "v8.05"),
            "linux/arm64/v8.6",
            linux("arm64", "v8.1"),
        ),
    ] {
        let user = new_user();
        let (content, digests) = index_for(&[(None, odd), (None, lower)]);
        pull(&user, content, &["--platform", wanted]).succeeded();
        let images = &summary(&user)["images"];
        assert_eq!(images[0]["manifest"]["digest"], json!(digests[1]));
        assert_eq!(images.as_array().map(Vec::len), Some(1));
    }
    for odd in ["v01", "v1.0", "v0"] {
        let (content, _) = index_for(&[(None, linux("amd64", odd)), (None, linux("386", ""))]);
        let ran = pull(&new_user(), content, &["--platform", "linux/amd64"]);
        ran.failed(&["none for linux/amd64"]);
    }
}

#[test]
fn an_artifact_that_some_run_is_told() {
    let statement = |text: &str| text.replace("image.layer.v1.tar", "in-toto+json");
    // The disk of a machine, which podman takes for a layer.
    let uncounted = |text: &str| {
        let mut config: Value = serde_json::from_str(text).expect("it is JSON");
        config["rootfs"]["diff_ids"] = json!([]);
        config.to_string()
    };
    let disk = |text: &str| text.replace(LAYER, "application/vnd.cirruslabs.tart.disk.v2");
    let (machine, _) = content(uncounted, disk);
    let user = new_user();
    pull(&user, machine, &[]).succeeded();
    let told = user.run(&["verify", "out"]).succeeded().stderr;
    assert!(told.contains("podman runs it all the same"), "{told}");

    // podman knows no doubled key of a config, and looks at no config of Docker's manifests.
    let doubled = |_: &str| r#"{"os":"linux","architecture":"amd64","a":1,"a":2}"#.to_owned();
    let (image, manifest) = content(doubled, statement);
    let user = new_user();
    pull(&user, image.clone(), &[]).succeeded();
    let told = user.run(&["verify", "out"]).succeeded().stderr;
    assert!(told.contains("podman runs it all the same"), "{told}");

    // Of these it knows no layers but Docker's.
    let dockers = manifest
        .replace(MANIFEST, DOCKER_MANIFEST)
        .replace(CONFIG, "a/b");
    let docker_layer = "application/vnd.docker.image.rootfs.diff.tar";
    let with_its_layers = dockers.replace("application/vnd.oci.in-toto+json", docker_layer);
    for (dockers, is_told) in [(dockers, false), (with_its_layers, true)] {
        let user = new_user();
        let image = image
            .clone()
            .with_root(DOCKER_MANIFEST, dockers.into_bytes());
        pull(&user, image, &[]).succeeded();
        let told = user.run(&["verify", "out"]).succeeded().stderr;
        assert_eq!(
            told.contains("podman runs it all the same"),
            is_told,
            "{told}"
        );
    }

    // containerd and crane take the first entry that names no other platform.
    let (mut image, artifact) = content(same, |text| {
        text.replace(CONFIG, EMPTY).replace(LAYER, "a/b")
    });
    let artifact = image.add(MANIFEST, artifact.into_bytes());
    let arm64 = other_image(&mut image, &json!({"architecture": "arm64"}));
    let entries = [for_platform(&arm64, "arm64"), artifact];
    let index = json!({"schemaVersion": 2, "manifests": entries}).to_string();
    let user = new_user();
    pull(&user, image.with_root(INDEX, index.into_bytes()), &[]).succeeded();
    let told = user.run(&["verify", "out"]).succeeded().stderr;
    let problem = "it is listed for no platform, but it is no image";
    assert!(told.contains(problem), "{told}");
}

/// What an attestation has is no archive, unless it is none. podman unpacks all layers, of which some may be nothing, and
/// knows bzip2, but neither zip files nor lz4 nor ar.
#[test]
fn an_attestation_that_podman_unpacks_is_told() {
    let evil = || tar_of("f", "evil");
    let unknown = r#"{"os":"unknown","architecture":"unknown"}"#;
    let ar = [b"!<arch>\ndata.tar", &evil()[..]].concat();
    let zstd = || zstd::encode_all(&evil()[..], 1).expect("it fits in memory");
    let skipped = [&[0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, b'x'][..], &zstd()].concat();
    for (config, layers, is_told) in [
        ("{}", vec![evil()], true),
        ("null", vec![gzip(&evil())], true),
        (unknown, vec![evil()], true),
        ("{}", vec![evil(), Vec::new()], true),
        ("{}", vec![Vec::new(), evil()], true),
        ("{}", vec![evil(), gzip(b"")], true),
        ("{}", vec![evil(), vec![0; 512]], true),
        ("{}", vec![evil(), vec![0; 1024]], true),
        ("{}", vec![b"BZh91AY&SY0123456789".to_vec()], true),
        ("{}", vec![b"{\"predicate\":{}}".to_vec()], false),
        ("null", vec![gzip(b"{}")], false),
        ("{}", vec![Vec::new()], false),
        ("{}", vec![evil(), b"{}".to_vec()], false),
        ("{}", vec![evil(), vec![0; 100]], false),
        ("{}", vec![b"PK\x03\x04 a zip file".to_vec()], false),
        ("{}", vec![b"\x04\x22\x4d\x18 of lz4".to_vec()], false),
        ("{}", vec![b"BZhello".to_vec()], false),
        ("{}", vec![ar], false),
        ("{}", vec![zstd()], true),
        ("{}", vec![skipped], false),
        ("{}", vec![gzip(&evil())[..30].to_vec()], false),
        ("[]", vec![evil()], false),
        ("\"x\"", vec![evil()], false),
        ("", vec![evil()], false),
    ] {
        let mut image = Content::default();
        let mut add = |layer| image.add("application/vnd.in-toto+json", layer);
        let what = format!(
            "{config} {:?}",
            layers.iter().map(Vec::len).collect::<Vec<_>>()
        );
        let layers: Vec<Value> = layers.into_iter().map(&mut add).collect();
        let config = image.add(CONFIG, config.as_bytes().to_vec());
        let manifest = manifest_of(&config, &layers).to_string();
        let user = new_user();
        pull(&user, image.with_root(MANIFEST, manifest.into_bytes()), &[]).succeeded();
        let told = user.run(&["verify", "out"]).succeeded().stderr;
        assert_eq!(
            told.contains("podman runs it all the same"),
            is_told,
            "{what} {told}"
        );
    }
}

#[test]
fn what_some_run_is_no_artifact() {
    let statement = |text: &str| text.replace("image.layer.v1.tar", "in-toto+json");
    let (image, _) = content(same, statement);
    pull(&new_user(), image, &[]).failed(&[
        "by its config it is an image, but its layer sha256:",
        "which is no layer's",
    ]);
    // containerd looks at no media type of a config, and Docker takes some for those of one, and of layers, too.
    for media_type in [
        "application/json",
        "application/octet-stream",
        "",
        EMPTY,
        "a/b",
    ] {
        let problem = [
            "by its config it is an image, but its layer sha256:",
            "which is no layer's",
        ];
        let nameless = |text: &str| text.replace(LAYER, "application/octet-stream");
        let disguised = |text: &str| nameless(text).replace(CONFIG, media_type);
        let (image, manifest) = content(same, disguised);
        pull(&new_user(), image.clone(), &[]).failed(&problem);
        let user = new_user();
        let layout = user.path("layout");
        let entry = add_blob(&layout, MANIFEST, manifest.as_bytes());
        let manifest: Value = serde_json::from_str(&manifest).expect("it is JSON");
        for blob in [&manifest["config"], &manifest["layers"][0]] {
            add_blob(&layout, text(&blob["mediaType"]), &bytes(&image, blob));
        }
        write_index(&layout, &[entry]);
        user.run(&["verify", "layout"]).failed(&problem);
        unpack(&user, "root").failed(&problem);
    }
    // What nobody unpacks, as Ollama's models.
    let docker_config = "application/vnd.docker.container.image.v1+json";
    for config in [docker_config, "application/json", EMPTY, "a/b"] {
        let model = |text: &str| text.replace(LAYER, "application/vnd.ollama.image.model");
        let (model, manifest) = content(same, |text| model(text).replace(CONFIG, config));
        let dockers = manifest.replace(MANIFEST, DOCKER_MANIFEST).into_bytes();
        let dockers = model.clone().with_root(DOCKER_MANIFEST, dockers);
        for model in [model, dockers] {
            let user = new_user();
            pull(&user, model, &[]).succeeded();
            assert_eq!(platforms(&user), Vec::<String>::new());
            let told = user.run(&["verify", "out"]).succeeded().stderr;
            assert!(!told.contains("podman"), "{told}");
        }
    }
    let nameless = |text: &str| text.replace("\"linux\"", "\"\"");
    let known_by_prefix =
        |text: &str| text.replace(LAYER, "application/vnd.oci.image.layer.v1.tar+x");
    let (image, _) = content(nameless, known_by_prefix);
    pull(&new_user(), image, &[]).failed(&["does not say for which os and architecture"]);
    for media_type in [CONFIG, "application/json", EMPTY] {
        let disguised = |text: &str| statement(text).replace(CONFIG, media_type);
        let (signature, _) = content(nameless, disguised);
        let user = new_user();
        pull(&user, signature, &[]).succeeded();
        assert_eq!(platforms(&user), Vec::<String>::new());
        user.run(&["verify", "out"]).succeeded();
    }

    // An index says of it that it is for no platform.
    let hidden = |config: &dyn Fn(&str) -> String, layers: fn(&str) -> String| {
        let (mut image, manifest) = content(config, layers);
        let mut entry = image.add(MANIFEST, manifest.into_bytes());
        entry["platform"] = json!({"os": "unknown", "architecture": "unknown"});
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]});
        image.with_root(INDEX, index.to_string().into_bytes())
    };
    for layers in [same as fn(&str) -> String, statement] {
        pull(&new_user(), hidden(&same, layers), &[]).failed(&[
            "by its config it is an image for linux/amd64, but its index lists it for an unknown one",
        ]);
    }
    for (os, architecture) in [("unknown", "unknown"), ("linux", "unknown"), ("linux", "")] {
        let unnamed = |text: &str| {
            let text = text.replace("\"linux\"", &format!("\"{os}\""));
            text.replace("\"amd64\"", &format!("\"{architecture}\""))
        };
        pull(&new_user(), hidden(&unnamed, same), &[])
            .failed(&["does not say for which os and architecture"]);
        pull(&new_user(), hidden(&unnamed, statement), &[]).succeeded();
    }
}

#[test]
fn a_layer_that_takes_too_much_memory_to_read_is_told() {
    // A frame with a window of 1 GiB (RFC 8878, 3.1.1), in which there is one empty block.
    let window = (30 - 10) << 3;
    let blob = [0x28, 0xb5, 0x2f, 0xfd, 0, window, 1, 0, 0];
    let user = new_user();
    let layer = add_blob(&user.path("layout"), &format!("{LAYER}+zstd"), &blob);
    layout_of(&user, &layer, &digest(b""));
    let problem = [
        text(&layer["digest"]),
        "zstd with a window that needs more than the limit of 128 MiB",
    ];
    unpack(&user, "root").failed(&problem);
    user.run(&["verify", "layout"]).failed(&problem);
}

#[test]
fn two_images_of_one_platform_are_told() {
    let listed = |change: fn(&mut Value)| {
        let (mut content, image) = content(same, same);
        let config = content.add(CONFIG, b"{\"os\":\"linux\",\"architecture\":\"amd64\",\"author\":\"another\",\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[]}}".to_vec());
        let other = manifest_of(&config, &[]).to_string().into_bytes();
        let [image, other] = [image.into_bytes(), other].map(|bytes| content.add(MANIFEST, bytes));
        let mut other = for_platform(&other, "amd64");
        change(&mut other["platform"]);
        let entries = [for_platform(&image, "amd64"), other];
        let index = json!({"schemaVersion": 2, "manifests": entries}).to_string();
        let content = content.with_root(INDEX, index.into_bytes());
        let user = new_user();
        pull(&user, content, &[]).succeeded();
        user.run(&["verify", "out"]).succeeded().stderr
    };
    let several = "it lists several manifests for linux/amd64";
    for (change, told) in [
        ((|_| {}) as fn(&mut Value), Some(several)),
        (|platform| platform["variant"] = json!("v2"), None),
        (
            |platform| platform["os.features"] = json!(["sse4"]),
            Some(several),
        ),
        (
            |platform| platform["os.version"] = json!("1.0"),
            Some(several),
        ),
        (
            |platform| platform["architecture"] = json!(""),
            Some("which are no platform"),
        ),
    ] {
        let warnings = listed(change);
        assert_eq!(
            warnings.contains("several") || warnings.contains("no platform"),
            told.is_some(),
            "{warnings}"
        );
        assert!(warnings.contains(told.unwrap_or_default()), "{warnings}");
    }
}
