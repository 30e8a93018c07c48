//! Machines without a registry: what another one pulled, fetched or vendored is all that they need.

use std::fs;
use std::process::Command;

use oci_pull_all_support::rootfs::{Layer, shell};
use oci_pull_all_support::{
    Content, Faulty, INDEX, Images, MANIFEST, Ran, Registry, User, blobs, gzip, noise, text,
};
use serde_json::{Value, json};
use tar::EntryType::{GNUSparse, Regular, Symlink};

use crate::new_user;

fn serve(content: &Content) -> (Faulty, String) {
    let registry = Faulty::good(content.clone());
    let reference = format!("{}/app@{}", registry.host(), content.digest);
    (registry, reference)
}

/// A user with an archive `blobs.tar` of an image, and the reference of the image, which nobody serves any more.
fn exported(content: &Content) -> (User, String) {
    let (_registry, reference) = serve(content);
    let user = new_user();
    user.run(&["pull", &reference, "--output", "out"])
        .succeeded();
    user.run(&["store", "export", "--output", "blobs.tar", &reference])
        .succeeded();
    (user, reference)
}

/// A pull that asks nobody.
fn pull_offline(user: &User, reference: &str, options: &[&str]) -> Ran {
    let arguments = [&["pull", reference, "--output", "offline"], options].concat();
    // No proxy listens there.
    user.run_with(&[("ALL_PROXY", "http://127.0.0.1:1")], &arguments)
}

fn copy(from: &User, to: &User) {
    fs::copy(from.path("blobs.tar"), to.path("blobs.tar")).expect("can be copied");
}

#[test]
fn what_a_store_lacks_is_told_before_anything_is_written() {
    let registry = Registry::with_base_images();
    let digest = registry.digest("library/debian", "stable");
    let debian = format!("{}/library/debian@{digest}", registry.host());
    let user = new_user();
    let export = |options: &[&str]| {
        let arguments = [&["store", "export", "--output", "blobs.tar"], options].concat();
        user.run(&arguments)
    };
    export(&[&debian]).failed(&["is not a store of blobs"]);
    let pull = |options: &[&str]| {
        let arguments = [&["pull", &debian, "--output"], options].concat();
        user.run(&arguments).succeeded();
    };
    pull(&["amd64", "--platform", "linux/amd64"]);
    export(&[&debian]).failed(&[
        "only in part, without sha256:",
        "(linux/arm64",
        "or name with --platform what was pulled",
    ]);
    let arm64 = ["--platform", "linux/arm64"];
    export(&[&[&*debian], &arm64[..]].concat()).failed(&["only in part", "(linux/arm64"]);
    user.run(&["store", "prune", "--max-size", "0"]).succeeded();
    pull(&["shallow", "--shallow"]);
    export(&[&debian]).failed(&["lacks the layer sha256:", &debian]);
    export(&[&format!("{}1", &debian[..debian.len() - 1])]).failed(&["lacks the manifest"]);
    pull(&["arm64", "--platform", "linux/arm64"]);
    export(&[&debian]).failed(&["lacks the layer", "--platform"]);
    export(&[&debian, "--platform", "linux/s390x"]).failed(&[
        "no image for linux/s390x of",
        "which offers linux/amd64, linux/arm64",
    ]);
    export(&[]).failed(&["--all"]);
    export(&["debian:stable"]).failed(&["debian:stable has no digest"]);
    assert!(!user.path("blobs.tar").exists());

    // An image by itself has a platform too.
    let (registry_of_image, image) = serve(&Content::image(&[noise(1, 1000)]));
    user.run(&["pull", &image, "--output", "image"]).succeeded();
    export(&[&image, "--platform", "linux/arm64"])
        .failed(&["no image for linux/arm64 of", "which offers linux/amd64"]);
    export(&[&image, "--platform", "linux/amd64"]).succeeded();
    drop(registry_of_image);

    export(&[&debian, "--platform", "linux/arm64"]).succeeded();
    let receiver = new_user();
    copy(&user, &receiver);
    receiver.run(&["store", "import", "blobs.tar"]).succeeded();
    drop(registry);
    pull_offline(&receiver, &debian, &["--platform", "linux/arm64"]).succeeded();
    assert_eq!(blobs(&receiver.path("offline")), blobs(&user.path("arm64")));

    // What is not whole goes along with all the rest.
    let told = export(&["--all"]).succeeded().stderr;
    let part = "index.json does not list it: the store lacks the layer sha256:";
    assert!(told.contains(part) && told.contains(&digest), "{told}");
    receiver.run(&["store", "import", "blobs.tar"]).succeeded();
    pull_offline(&receiver, &debian, &["--platform", "linux/amd64"]).failed(&["cannot pull"]);
}

/// Whatever reads a layout takes what `verify --sparse` takes.
fn read_layout(user: &User, has_image: bool) {
    user.run(&["layout", "complete", "layout", "--output", "whole"])
        .succeeded();
    let archive = ["layout", "archive", "layout", "--format", "oci"];
    user.run(&[&archive[..], &["--output", "image.tar"]].concat())
        .succeeded();
    let ran = user.run(&["layout", "rootfs", "layout", "--output", "root"]);
    assert_eq!(ran.success, has_image, "{}", ran.stderr);
}

/// What a pull for a platform reads to choose goes along.
#[test]
fn what_was_pulled_for_a_platform_is_exported_for_it() {
    let mut images = Images::default();
    let for_platform = |images: &mut Images, architecture: &str| {
        let Layer(layer) = Layer::new().file("f", architecture);
        images.add_image_of("app", layer, |config| {
            config["architecture"] = architecture.into();
        })
    };
    let [amd64, arm64] = ["amd64", "arm64"].map(|name| for_platform(&mut images, name));
    let files = [(Some("f"), "a/c", b"file".to_vec())];
    let artifact = images.add_artifact("app", "a/b", &files);
    let mut index = |entries: &[(&str, Option<&str>)]| {
        let entries: Vec<Value> = entries
            .iter()
            .map(|(digest, architecture)| {
                let manifest = images.manifest(digest);
                let size = manifest.to_string().len();
                let media_type = if manifest["config"].is_null() {
                    INDEX
                } else {
                    MANIFEST
                };
                let mut entry = json!({"mediaType": media_type, "digest": digest, "size": size});
                if let Some(architecture) = architecture {
                    entry["platform"] = json!({"os": "linux", "architecture": architecture});
                }
                entry
            })
            .collect();
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries});
        let index = images.add_manifest("app", INDEX, index.to_string().into_bytes());
        text(&index["digest"]).to_owned()
    };
    let nested = index(&[(&arm64, Some("arm64"))]);
    let roots = [
        index(&[(&amd64, Some("amd64")), (&nested, None)]),
        index(&[(&amd64, None), (&arm64, None)]),
        index(&[(&amd64, Some("amd64")), (&arm64, None)]),
        index(&[
            (&amd64, Some("amd64")),
            (&artifact, None),
            (&arm64, Some("arm64")),
        ]),
        amd64.clone(),
        artifact.clone(),
    ];
    let registry = Registry::with(images);
    let roots = roots.map(|root| format!("{}/app@{root}", registry.host()));
    let platform = ["--platform", "linux/amd64"];
    let mut moved = Vec::new();
    for root in &roots {
        let (sender, receiver) = (new_user(), new_user());
        let pull = [&["pull", root, "--output", "out"], &platform[..]].concat();
        sender.run(&pull).succeeded();
        let export = |images: &[&str], output: &str| {
            let export = ["store", "export", "--output", output];
            sender.run(&[&export, images].concat())
        };
        export(&[&[&**root], &platform[..]].concat(), "blobs.tar").succeeded();
        let told = export(&["--all"], "all.tar").succeeded().stderr;
        copy(&sender, &receiver);
        receiver.run(&["store", "import", "blobs.tar"]).succeeded();
        shell(&receiver, "mkdir layout; tar -xf blobs.tar -C layout");
        receiver.run(&["verify", "--sparse", "layout"]).succeeded();
        read_layout(&receiver, !root.ends_with(&artifact));
        sender.run(&["verify", "--sparse", "out"]).succeeded();
        // An index that is there in part is no image of a layout.
        let mut tar = Command::new("tar");
        let read = tar.args(["-xOf", "all.tar", "index.json"]);
        let read = read
            .current_dir(sender.home())
            .output()
            .expect("can be run");
        let all: Value = serde_json::from_slice(&read.stdout).expect("an index");
        let listed = all["manifests"].to_string();
        let root_digest = root.split_once('@').expect("it has a digest").1;
        let is_whole = [&amd64, &artifact]
            .iter()
            .any(|whole| *whole == root_digest);
        assert_eq!(listed.contains(root_digest), is_whole, "{listed}");
        let is_told = told.contains("does not list it: the store ") && told.contains(root_digest);
        assert_eq!(is_told, !is_whole, "{told}");
        // What it lists is an image all the same, where that is whole.
        assert_eq!(
            listed.contains(&amd64),
            *root_digest != artifact,
            "{listed}"
        );
        moved.push((receiver, blobs(&sender.path("out"))));
    }
    drop(registry);
    for (root, (receiver, expected)) in roots.iter().zip(&moved) {
        pull_offline(receiver, root, &platform).succeeded();
        assert_eq!(blobs(&receiver.path("offline")), *expected);
    }
}

#[test]
fn the_same_images_give_the_same_archive_in_whatever_order() {
    let user = new_user();
    let [one, other] = [1, 2].map(|seed| {
        let (registry, reference) = serve(&Content::image(&[noise(seed, 1000)]));
        user.run(&["pull", &reference, "--output", &format!("out{seed}")])
            .succeeded();
        drop(registry);
        reference
    });
    let export = |images: &[&str]| {
        user.run(&[&["store", "export", "--output", "tar"], images].concat())
            .succeeded();
        fs::read(user.path("tar")).expect("is there")
    };
    let archive = export(&[&one, &other]);
    assert!(archive == export(&[&other, &one]), "another order");
    assert!(
        archive == export(&[&one, &other, &one]),
        "one of them twice"
    );
    assert!(archive != export(&[&one]), "one of them");
}

#[test]
fn a_wrong_blob_is_refused_and_named_and_the_others_stay() {
    let content = Content::image(&[noise(40, 3 << 20), noise(41, 5000), noise(42, 9000)]);
    let (sender, reference) = exported(&content);
    let receiver = new_user();
    let right = fs::read(sender.path("blobs.tar")).expect("is there");
    let import = |bytes: &[u8]| {
        fs::write(receiver.path("blobs.tar"), bytes).expect("can be written");
        receiver.run(&["store", "import", "blobs.tar"])
    };
    let layer = noise(41, 5000);
    let place = right.windows(5000).position(|window| window == layer);
    let mut wrong = right.clone();
    wrong[place.expect("it is there") + 4000] ^= 1;
    import(&wrong).failed(&["error: a blob was refused", &content.layers[1]]);
    pull_offline(&receiver, &reference, &[]).failed(&[&content.layers[1]]);
    let size = receiver.run(&["store", "size"]).succeeded().stdout;
    assert!(size.contains("4 blobs"), "{size}");
    let ran = import(&right).succeeded();
    assert!(
        ran.stdout
            .contains("imported 1 blob, 4.88 KiB; 4 were there"),
        "{}",
        ran.stdout
    );
    pull_offline(&receiver, &reference, &[]).succeeded();

    // It breaks off, wherever that is, and is done again.
    for end in [right.len() / 5, right.len() / 2, right.len() - 3000] {
        receiver
            .run(&["store", "prune", "--max-size", "0"])
            .succeeded();
        import(&right[..end]).failed(&["cannot read blobs.tar to its end"]);
        receiver.run(&["store", "verify"]).succeeded();
        import(&right).succeeded();
        pull_offline(&receiver, &reference, &[]).succeeded();
    }
    // As people send it.
    let packed = [
        gzip(&right),
        zstd::encode_all(&right[..], 3).expect("can be compressed"),
    ];
    for bytes in packed {
        receiver
            .run(&["store", "prune", "--max-size", "0"])
            .succeeded();
        import(&bytes[..bytes.len() / 2]).failed(&["cannot read blobs.tar to its end"]);
        // The last byte is of a checksum.
        import(&bytes[..bytes.len() - 1]).failed(&["cannot read blobs.tar to its end"]);
        import(&bytes).succeeded();
        pull_offline(&receiver, &reference, &[]).succeeded();
    }
    import(b"BZh9").failed(&["blobs.tar", "compressed by bzip2"]);
    import(b"not an archive").failed(&["cannot read blobs.tar"]);
    import(&[0; 1024]).failed(&["not an archive of an OCI image layout"]);
    receiver
        .run(&["store", "import", "no-such.tar"])
        .failed(&["cannot open no-such.tar"]);
}

/// A copy that broke off, or an archive of a part of the files.
#[test]
fn what_an_archive_lacks_that_was_cut_between_two_entries_is_told() {
    let content = Content::image(&[noise(60, 3000), noise(61, 5000)]);
    let (sender, reference) = exported(&content);
    let index_last =
        "mkdir l; tar -xf blobs.tar -C l; tar -cf blobs.tar -C l oci-layout blobs index.json";
    for script in ["true", index_last] {
        shell(&sender, script);
        let whole = fs::read(sender.path("blobs.tar")).expect("is there");
        let mut archive = tar::Archive::new(&*whole);
        let entries = archive.entries().expect("an archive");
        let cuts = entries.map(|entry| {
            let entry = entry.expect("can be read");
            usize::try_from(entry.raw_header_position()).expect("fits")
        });
        let mut cuts: Vec<usize> = cuts.collect();
        let end = whole.chunks(512).rposition(|block| block != [0; 512]);
        let end = 512 * (end.expect("it has something") + 1);
        let first_blob = whole.windows(8).position(|name| name == b"blobs/sh");
        cuts.retain(|cut| *cut > first_blob.expect("it has blobs") + 512);
        for cut in &cuts {
            for bytes in [whole[..*cut].to_vec(), gzip(&whole[..*cut])] {
                let receiver = new_user();
                fs::write(receiver.path("blobs.tar"), bytes).expect("can be written");
                let ran = receiver.run(&["store", "import", "blobs.tar"]);
                let lacks = if script == index_last {
                    "index.json"
                } else {
                    ""
                };
                ran.failed(&[&format!("blobs.tar breaks off, and lacks {lacks}")]);
            }
        }
        // Nothing is lost with the end alone.
        let receiver = new_user();
        fs::write(receiver.path("blobs.tar"), &whole[..end]).expect("can be written");
        receiver.run(&["store", "import", "blobs.tar"]).succeeded();
        pull_offline(&receiver, &reference, &[]).succeeded();
    }
}

/// Whatever it is that took them away.
#[test]
fn what_an_archive_was_made_without_is_told() {
    let content = Content::image(&[noise(62, 3000), noise(63, 5000)]);
    let (sender, _) = exported(&content);
    shell(&sender, "mkdir l; tar -xf blobs.tar -C l");
    let import = |receiver: &User| {
        copy(&sender, receiver);
        receiver.run(&["store", "import", "blobs.tar"])
    };
    for digest in [&content.digest, &content.layers[1]] {
        let blob = format!("l/blobs/{}", digest.replace(':', "/"));
        let make = |script: &str| {
            let tar = "tar -cf blobs.tar -C l oci-layout blobs index.json";
            shell(&sender, &format!("{script} {blob}; {tar}"));
        };
        let lacks = format!("{digest}; the blobs that came stay in the store");
        make("mv -t .");
        let receiver = new_user();
        import(&receiver).failed(&["blobs.tar lacks the ", &lacks]);
        receiver.run(&["store", "verify"]).succeeded();
        for (script, what) in [
            ("mkfifo", "a named pipe"),
            ("rm -f {}; mkdir", "a directory"),
            ("rmdir {}; ln -s nothing", "a link"),
        ] {
            make(&script.replace("{}", &blob));
            import(&receiver).failed(&[digest, what]);
        }
        let hex = digest.split_once(':').expect("a digest").1;
        make(&format!("rm {blob}; cp {hex}"));
        import(&receiver).succeeded();
        // The store has what the archive lacks.
        make("rm");
        import(&receiver).succeeded();
        make(&format!("cp {hex}"));
    }
    // Without it nobody knows whether the rest is all.
    shell(&sender, "tar -cf blobs.tar -C l oci-layout blobs");
    let receiver = new_user();
    import(&receiver).failed(&["blobs.tar lacks index.json; the blobs that came stay"]);
    receiver.run(&["store", "verify"]).succeeded();
    for script in ["echo {", "head -c 5000000 /dev/zero"] {
        shell(
            &sender,
            &format!("{script} > l/index.json; tar -cf blobs.tar -C l oci-layout blobs index.json"),
        );
        import(&receiver).failed(&["the index.json of blobs.tar cannot be used"]);
    }
}

/// As people send it, who had it on a tape.
#[test]
fn what_follows_the_end_of_a_compressed_archive_is_told() {
    let (sender, _) = exported(&Content::image(&[noise(64, 3000)]));
    let whole = fs::read(sender.path("blobs.tar")).expect("is there");
    let import = |behind: &[u8]| {
        let bytes = [&gzip(&whole)[..], behind].concat();
        fs::write(sender.path("packed"), bytes).expect("can be written");
        sender.run(&["store", "import", "packed"])
    };
    import(&[0; 512]).succeeded();
    import(b"junk").failed(&["something follows the end of its gzip that is no gzip"]);
}

/// As `tar --sparse` has them.
#[test]
fn blobs_with_holes_are_taken() {
    let layer = [
        noise(70, 8192),
        vec![0; 1 << 20],
        noise(71, 8192),
        vec![0; 1 << 20],
    ];
    let (registry, reference) = serve(&Content::image(&[layer.concat()]));
    let sender = new_user();
    sender
        .run(&["pull", &reference, "--output", "out"])
        .succeeded();
    drop(registry);
    shell(&sender, "cp -r --sparse=always out holes");
    for format in ["gnu", "pax --sparse-version=0.1", "pax"] {
        let receiver = new_user();
        shell(
            &sender,
            &format!("tar --format={format} --sparse -cf blobs.tar -C holes ."),
        );
        let packed = fs::metadata(sender.path("blobs.tar")).expect("is there");
        assert!(packed.len() < 1 << 20, "it has no holes");
        copy(&sender, &receiver);
        receiver.run(&["store", "import", "blobs.tar"]).succeeded();
        pull_offline(&receiver, &reference, &[]).succeeded();
    }
}

#[test]
fn what_a_hostile_archive_says_leads_nowhere() {
    let user = new_user();
    let data = noise(50, 3000);
    let hex = &oci_pull_all_support::digest(&data)["sha256:".len()..];
    let good = format!("blobs/sha256/{hex}");
    let archive = |entries: &[(&str, tar::EntryType, &[u8])]| {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, kind, data) in entries {
            let mut header = tar::Header::new_gnu();
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(*kind);
            header.set_size(data.len() as u64);
            header.set_mode(0o777);
            if *kind == tar::EntryType::GNUSparse {
                let gnu = header.as_gnu_mut().expect("it is one");
                gnu.sparse[0].offset[..11].copy_from_slice(b"00000001000");
                gnu.sparse[0].numbytes[..11].copy_from_slice(b"00000005670");
                gnu.realsize[..11].copy_from_slice(b"00000010000");
            }
            if *kind == tar::EntryType::Symlink {
                header.set_link_name("/etc/passwd").expect("fits");
            }
            header.set_cksum();
            builder.append(&header, *data).expect("can be written");
        }
        let bytes = builder.into_inner().expect("can be written");
        fs::write(user.path("blobs.tar"), bytes).expect("can be written");
        user.run(&["store", "import", "blobs.tar"])
    };
    archive(&[("blobs/sha256/../../version", Regular, b"9")]).failed(&["blobs.tar"]);
    archive(&[
        ("version", Regular, b"9"),
        ("blobs/sha256/version", Regular, b"9"),
    ])
    .failed(&["not an archive of an OCI image layout"]);
    // As tar makes it of a layout whose blobs are links.
    archive(&[(&good, Symlink, b"")]).failed(&[hex, "is a link", "tar --dereference"]);
    archive(&[(&good, GNUSparse, &data)]).failed(&["refused", hex]);
    archive(&[(&good, Regular, b"")]).failed(&["refused", hex]);
    let size = user.run(&["store", "size"]).succeeded().stdout;
    assert!(size.contains("0 blobs"), "{size}");
    // All are looked at, and the right one counts.
    let wrong = noise(51, 3000);
    for other in [&b"other"[..], &wrong] {
        for entries in [[&data[..], other], [other, &data[..]], [other, other]] {
            archive(&entries.map(|bytes| (&*good, Regular, bytes))).failed(&[
                "refused",
                "blobs.tar has other bytes as",
                hex,
            ]);
            user.run(&["store", "verify"]).succeeded();
        }
    }
    let size = user.run(&["store", "size"]).succeeded().stdout;
    assert!(size.contains("1 blob,"), "{size}");
}
