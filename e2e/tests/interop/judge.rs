//! What this program reads in a document is what Go's decoder reads, or it refuses the document.
//!
//! Documents are made from plain ones by changes such as a registry's owner could make: doubled keys, keys in
//! another case, nulls, wrong types, odd numbers. `e2e/judge` says what others make of them.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use oci_pull_all::layout::find_image;
use oci_pull_all::oci::config::ImageConfig;
use oci_pull_all::oci::descriptor::Descriptor;
use oci_pull_all::oci::digest::{Algorithm, Digest};
use oci_pull_all::oci::manifest::Manifest;
use oci_pull_all::oci::platform::Platform;
use oci_pull_all::oci::time::Time;
use oci_pull_all_e2e::checkout;
use oci_pull_all_support::{CONFIG, INDEX, LAYER, MANIFEST};
use serde_json::{Value, json};

/// Keys that tell an object of the specifications from one of the user's.
const OF_THE_SPECS: [&str; 7] = [
    "schemaVersion",
    "digest",
    "architecture",
    "Entrypoint",
    "diff_ids",
    "created_by",
    "Interval",
];

const TIMES: [&str; 12] = [
    "2026-01-31T12:00:00.5+02:30",
    "2026-01-31T1:00:00-02:30",
    "2026-01-31T01:00:00,123456789123Z",
    "2026-01-31T00:00:00+24:60",
    "0000-02-29T00:00:00Z",
    "2026-02-29T00:00:00Z",
    "2026-01-31 12:00:00Z",
    "2026-01-31t12:00:00z",
    "2026-01-31T23:59:60Z",
    "2026-01-31T12:00:00+0230",
    "2026-01-31",
    "",
];

/// The first layer's content, in ways that are right or not.
const DATA: [&str; 6] = [
    "",
    "bGF5ZXI=",
    r"bGF5\r\nZXI\n=",
    "bGF5ZXJ=",
    "bGF5ZXI",
    "bGF5 ZXI=",
];

/// JSON whose objects may have a key twice.
#[derive(Clone)]
enum Json {
    /// A text that is written as it is: a number, a word, a string in quotes.
    Raw(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    fn of(value: &Value) -> Self {
        match value {
            Value::Array(items) => Json::List(items.iter().map(Json::of).collect()),
            Value::Object(members) => {
                let members = members.iter();
                let members = members.map(|(key, value)| (json!(key).to_string(), Json::of(value)));
                Json::Object(members.collect())
            }
            value => Json::Raw(value.to_string()),
        }
    }

    fn text(&self) -> String {
        let join = |parts: Vec<String>| parts.join(",");
        match self {
            Json::Raw(text) => text.clone(),
            Json::List(items) => format!("[{}]", join(items.iter().map(Json::text).collect())),
            Json::Object(members) => {
                let members = members.iter();
                let members = members.map(|(key, value)| format!("{key}:{}", value.text()));
                format!("{{{}}}", join(members.collect()))
            }
        }
    }

    /// All objects, or all values that are in lists and objects.
    fn visit(&mut self, take: &mut dyn FnMut(&mut Json)) {
        take(self);
        match self {
            Json::Raw(_) => {}
            Json::List(items) => items.iter_mut().for_each(|item| item.visit(take)),
            Json::Object(members) => {
                for (_, value) in members {
                    value.visit(take);
                }
            }
        }
    }
}

/// Marsaglia's xorshift64: the same numbers in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).expect("it is below a usize")
    }

    /// The key in another case, or written with escapes.
    fn respell(&mut self, key: &str) -> String {
        let mut text: Vec<String> = key.chars().map(String::from).collect();
        for _ in 0..=self.below(2) {
            // Not the quotes.
            let place = 1 + self.below(text.len() - 2);
            let Some(letter) = text[place].chars().next() else {
                continue;
            };
            text[place] = match (letter, self.below(5)) {
                ('s' | 'S', 0 | 1) => "\u{17f}".to_owned(),
                ('k' | 'K', 0 | 1) => "\u{212a}".to_owned(),
                (letter, 2) if letter.is_ascii_alphanumeric() => {
                    format!("\\u{:04x}", u32::from(letter))
                }
                (letter, _) if letter.is_ascii_lowercase() => letter.to_uppercase().to_string(),
                (letter, _) => letter.to_lowercase().to_string(),
            };
        }
        text.concat()
    }

    fn value(&mut self) -> Json {
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let texts = [
            "null",
            "true",
            "0",
            "1",
            "2",
            "2.0",
            "-1",
            "-0",
            "1e2",
            "9223372036854775808",
            "1.5",
            r#""""#,
            r#""x""#,
            r#""linux""#,
            r#""arm64""#,
            r#""/bin/sh""#,
            r#""\ud83d\ude00""#,
            r#""\ud800""#,
            "[]",
            "{}",
            r#"["x"]"#,
            "[null]",
            r#"{"x":"y"}"#,
            r#"{"x":{}}"#,
            r#"{"os":"linux","OS":"x"}"#,
            r#"{"User":"root"}"#,
            r#"{"x":1,"x":2}"#,
            r#"{"x":null}"#,
        ];
        match self.below(texts.len() + 3) {
            0 => Json::Raw(json!(empty).to_string()),
            1 => Json::of(&json!({"mediaType": LAYER, "digest": empty, "size": 1})),
            2 => Json::List(vec![Json::of(&json!({"digest": empty, "size": 7}))]),
            number => Json::Raw(texts[number - 3].to_owned()),
        }
    }

    /// A value that a key may have, if it is one whose values have a form.
    fn value_of(&mut self, key: &str) -> Json {
        let texts: &[&str] = match key.trim_matches('"') {
            "created" => &TIMES,
            "data" => &DATA,
            _ => return self.value(),
        };
        let text = texts[self.below(texts.len())];
        Json::Raw(format!("\"{text}\""))
    }

    /// Changes one thing somewhere in the document.
    fn change(&mut self, document: &mut Json) {
        let mut count = 0;
        document.visit(&mut |value| {
            count += usize::from(matches!(value, Json::Object(members) if !members.is_empty()));
        });
        let chosen = self.below(count.max(1));
        let mut number = 0;
        document.visit(&mut |value| {
            let Json::Object(members) = value else { return };
            if members.is_empty() {
                return;
            }
            number += 1;
            if number != chosen + 1 {
                return;
            }
            let place = self.below(members.len());
            let (key, old) = members[place].clone();
            match self.below(8) {
                0 => members[place].0 = self.respell(&key),
                1 => {
                    let key = self.respell(&key);
                    let value = if self.below(2) == 0 {
                        old
                    } else {
                        self.value()
                    };
                    let at = self.below(members.len() + 1);
                    members.insert(at, (key, value));
                }
                2 => {
                    let value = if self.below(2) == 0 {
                        old
                    } else {
                        self.value()
                    };
                    members.push((key, value));
                }
                3 => members[place].1 = Json::Raw("null".to_owned()),
                4 | 5 => members[place].1 = self.value_of(&key),
                6 => drop(members.remove(place)),
                _ => {
                    let value = self.value();
                    members.push((format!("\"{key}x\"", key = key.trim_matches('"')), value));
                }
            }
        });
    }

    /// A document made from a plain one, and whether it is plain still: it has keys more that nobody knows.
    fn document(&mut self, plain: &Value) -> (String, bool) {
        let mut document = Json::of(plain);
        if self.below(8) == 0 {
            document.visit(&mut |value| {
                if let Json::Object(members) = value
                    && self.below(3) == 0
                    // What is in annotations, labels and the like is the user's.
                    && members.iter().any(|(key, _)| OF_THE_SPECS.contains(&key.trim_matches('"')))
                {
                    let unknown = r#"{"a": [1, null, {"b": 1e999}], "A": "x"}"#.to_owned();
                    members.push(("\"org.example.unknown\"".to_owned(), Json::Raw(unknown)));
                }
            });
            return (document.text(), true);
        }
        for _ in 0..=self.below(3) {
            self.change(&mut document);
        }
        let mut text = document.text();
        match self.below(60) {
            0 => text.push_str(" {}"),
            1 => text.insert(0, '\u{feff}'),
            2 => text.insert_str(0, " \n\t"),
            _ => {}
        }
        (text, false)
    }
}

fn platform(platform: &Platform) -> Value {
    json!({
        "os": platform.os, "architecture": platform.architecture,
        "variant": platform.variant.clone().unwrap_or_default(),
        "os.version": platform.os_version.clone().unwrap_or_default(),
        "os.features": platform.os_features, "features": platform.features,
    })
}

fn descriptor(descriptor: &Descriptor) -> Value {
    json!({
        "mediaType": descriptor.media_type, "digest": descriptor.digest, "size": descriptor.size,
        "urls": descriptor.urls, "annotations": descriptor.annotations,
        "platform": descriptor.platform.as_ref().map(platform),
        "artifactType": descriptor.artifact_type.as_ref().map_or("", |name| name.as_str()),
        "data": descriptor.data.as_ref().map(|data| BASE64_STANDARD.encode(data)),
    })
}

fn descriptors(list: &[Descriptor]) -> Vec<Value> {
    list.iter().map(descriptor).collect()
}

fn config(config: &ImageConfig) -> Value {
    let process = &config.process;
    let created = config.created.clone();
    // What is not there is Go's zero time.
    let created = created.unwrap_or_else(|| "0001-01-01T00:00:00Z".parse());
    let created = created.map(Time::utc).ok();
    json!({
        "created": created.map(|time| (time.timestamp(), time.timestamp_subsec_nanos())),
        "platform": platform(&config.platform), "diff_ids": config.diff_ids,
        "process": {
            "entrypoint": process.entrypoint, "cmd": process.cmd, "env": process.env,
            "user": process.user, "working_dir": process.working_dir,
            "stop_signal": process.stop_signal, "labels": process.labels,
            "volumes": process.volumes, "exposed_ports": process.exposed_ports,
        },
    })
}

/// What this program makes of a document; `None` if it refuses it.
fn understood(case: &Case) -> Option<Value> {
    let bytes = case.text.as_bytes();
    match case.kind {
        "manifest" => Some(match Manifest::parse(bytes, None).ok()? {
            Manifest::Image(image) => json!({"image": {
                "mediaType": image.media_type,
                "artifactType": image.artifact_type.as_ref().map_or("", |name| name.as_str()),
                "config": descriptor(&image.config), "layers": descriptors(&image.layers),
                "subject": image.subject.as_ref().map(descriptor), "annotations": image.annotations,
            }}),
            Manifest::Index(index) => json!({"index": {
                "mediaType": index.media_type,
                "artifactType": index.artifact_type.as_ref().map_or("", |name| name.as_str()),
                "manifests": descriptors(&index.manifests),
                "subject": index.subject.as_ref().map(descriptor), "annotations": index.annotations,
            }}),
        }),
        "config" => ImageConfig::parse(bytes).ok().map(|read| config(&read)),
        _ => {
            let found = find_image(Path::new(&case.text), None).ok()?;
            Some(json!([{
                "manifest": found.descriptor.digest, "layers": descriptors(&found.manifest.layers),
                "config": config(&found.config),
            }]))
        }
    }
}

/// Whether both understood the same.
fn agree(kind: &str, ours: &Value, judges: &Value) -> bool {
    match kind {
        "manifest" => {
            let (role, other, list) = if ours.get("image").is_some() {
                ("image", "index", "manifests")
            } else {
                ("index", "image", "layers")
            };
            // Nothing is left that could be read as the other kind.
            let empty = judges[other][list].as_array().is_none_or(Vec::is_empty);
            let (mut ours, mut judges) = (ours[role].clone(), judges[role].clone());
            if judges["mediaType"] == "" {
                ours["mediaType"].take();
                judges["mediaType"].take();
            }
            empty && ours == judges
        }
        "layout" => {
            // An image's platform is that of the index; the judge tells the config's.
            let (mut ours, mut judges) = (ours.clone(), judges.clone());
            for images in [&mut ours, &mut judges] {
                for image in images.as_array_mut().expect("a list") {
                    image["config"]["platform"].take();
                }
                let mut once = images.as_array().expect("a list").clone();
                once.dedup();
                *images = json!(once);
            }
            ours == judges
        }
        _ => ours == judges,
    }
}

struct Case {
    kind: &'static str,
    text: String,
    is_plain: bool,
}

fn plain_config(diff_ids: &[String]) -> Value {
    json!({
        "architecture": "amd64", "os": "linux", "created": "2026-01-01T00:00:00Z", "author": "a",
        "variant": "v1",
        "config": {
            "Entrypoint": ["/bin/app"], "Cmd": ["--serve"], "Env": ["PATH=/bin", "K=s"], "User": "1000",
            "WorkingDir": "/work", "StopSignal": "SIGTERM", "Labels": {"size": "1", "Size": "2"},
            "Volumes": {"/data": {}}, "ExposedPorts": {"80/tcp": {}}, "Tty": false,
            "Healthcheck": {"Test": ["NONE"], "Interval": 1},
        },
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": [{"created": "2026-01-01T00:00:00Z", "created_by": "x", "empty_layer": false}],
    })
}

fn pointer(media_type: &str, bytes: &[u8]) -> Value {
    let digest = Digest::of(Algorithm::Sha256, bytes);
    json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
}

fn plain_manifest(config: &Value) -> Value {
    let mut layer = pointer(LAYER, b"layer");
    layer["urls"] = json!(["https://example.com/layer"]);
    layer["annotations"] = json!({"kind": "a", "Kind": "b"});
    layer["data"] = json!(BASE64_STANDARD.encode("layer"));
    json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "config": config,
        "layers": [layer, pointer(LAYER, b"another")], "annotations": {"org.example": "1"},
        "subject": pointer(MANIFEST, b"subject"), "artifactType": "application/x.example",
    })
}

fn plain_index(entries: &[Value]) -> Value {
    json!({
        "schemaVersion": 2, "mediaType": INDEX, "manifests": entries, "annotations": {"a": "1"},
    })
}

/// A layout of one image, some of whose documents are changed; what leads to them has their digests.
fn layout(random: &mut Random, root: &Path) -> bool {
    fs::create_dir_all(root.join("blobs/sha256")).expect("it can be made");
    fs::write(root.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).expect("written");
    let mut is_plain = true;
    let mut write = |random: &mut Random, plain: &Value, media_type: &str| {
        let changed = random.below(4) == 0;
        let text = if changed {
            let (text, still_plain) = random.document(plain);
            is_plain &= still_plain;
            text
        } else {
            plain.to_string()
        };
        let pointer = pointer(media_type, text.as_bytes());
        let digest: Digest = pointer["digest"].as_str().unwrap().parse().unwrap();
        fs::write(root.join(digest.blob_path()), &text).expect("written");
        (pointer, text)
    };
    let layers = ["layer", "another"].map(|layer| add(root, LAYER, layer.as_bytes()));
    let diff_ids = layers.map(|layer| layer["digest"].as_str().expect("a digest").to_owned());
    let (config, _) = write(random, &plain_config(&diff_ids), CONFIG);
    let (mut entry, _) = write(random, &plain_manifest(&config), MANIFEST);
    for _ in 0..random.below(3) {
        entry["platform"] = json!({"os": "linux", "architecture": "amd64"});
        (entry, _) = write(random, &plain_index(&[entry]), INDEX);
    }
    let (_, index) = write(random, &plain_index(&[entry]), INDEX);
    fs::write(root.join("index.json"), index).expect("written");
    is_plain
}

/// A layout of one index of images and artifacts, some of them in further indexes, with platforms and media types that are
/// right or not.
fn choice(random: &mut Random, root: &Path) {
    fs::create_dir_all(root.join("blobs/sha256")).expect("it can be made");
    fs::write(root.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).expect("written");
    let index = index_of_some(random, root, 0);
    fs::write(root.join("index.json"), plain_index(&[index]).to_string()).expect("written");
}

fn add(root: &Path, media_type: &str, bytes: &[u8]) -> Value {
    let pointer = pointer(media_type, bytes);
    let digest: Digest = pointer["digest"].as_str().unwrap().parse().unwrap();
    fs::write(root.join(digest.blob_path()), bytes).expect("written");
    pointer
}

fn index_of_some(random: &mut Random, root: &Path, depth: usize) -> Value {
    let mut entries = Vec::new();
    for _ in 0..=random.below(3) {
        let mut entry = if depth < 3 && random.below(3) == 0 {
            index_of_some(random, root, depth + 1)
        } else {
            some_manifest(random, root)
        };
        if random.below(6) == 0 {
            entry["mediaType"] = json!(["application/json", ""][random.below(2)]);
        }
        let platform = |architecture| json!({"os": "linux", "architecture": architecture});
        match random.below(6) {
            0 | 1 => {}
            2 | 3 => entry["platform"] = platform("amd64"),
            4 => entry["platform"] = platform("arm64"),
            _ => entry["platform"] = json!({"os": "unknown", "architecture": "unknown"}),
        }
        entries.push(entry);
    }
    add(root, INDEX, plain_index(&entries).to_string().as_bytes())
}

/// An image of one of two platforms, or an artifact.
fn some_manifest(random: &mut Random, root: &Path) -> Value {
    let layer = [b"layer".as_slice(), b"another"][random.below(2)];
    let layer_type = [LAYER, LAYER, LAYER, "application/octet-stream"][random.below(4)];
    let layer = add(root, layer_type, layer);
    let architecture = ["amd64", "amd64", "arm64"][random.below(3)];
    let config = json!({
        "os": "linux", "architecture": architecture,
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
    });
    let config = match random.below(5) {
        0 => add(root, "application/vnd.oci.empty.v1+json", b"{}"),
        _ => add(root, CONFIG, config.to_string().as_bytes()),
    };
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer],
    });
    add(root, MANIFEST, manifest.to_string().as_bytes())
}

fn build_judge(directory: &Path) -> PathBuf {
    let program = directory.join("judge");
    let built = Command::new("go")
        .args(["build", "-o"])
        .arg(&program)
        .arg(".")
        .current_dir(checkout().join("e2e/judge"))
        .status()
        .expect("Go is needed to build e2e/judge: https://go.dev/dl");
    assert!(built.success(), "e2e/judge cannot be built");
    program
}

fn judge(program: &Path, cases: &[Case]) -> Vec<Value> {
    let mut child = Command::new(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the judge starts");
    let mut input = child.stdin.take().expect("it is piped");
    let lines: Vec<String> = cases
        .iter()
        .map(|case| format!("{} {}\n", case.kind, BASE64_STANDARD.encode(&case.text)))
        .collect();
    let writer = std::thread::spawn(move || input.write_all(lines.concat().as_bytes()));
    let output = child.wait_with_output().expect("the judge ends");
    writer
        .join()
        .expect("no panic")
        .expect("the judge reads all");
    assert!(output.status.success(), "the judge failed");
    let text = String::from_utf8(output.stdout).expect("JSON is UTF-8");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("the judge writes JSON"))
        .collect()
}

#[test]
fn what_both_accept_they_read_alike() {
    let directory = tempfile::tempdir().expect("there is room");
    let program = build_judge(directory.path());
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut cases = Vec::new();
    let config = plain_config(&[Digest::of(Algorithm::Sha256, b"layer").to_string()]);
    let manifest = plain_manifest(&pointer(CONFIG, b"config"));
    let mut listed = pointer(MANIFEST, b"manifest");
    listed["platform"] = json!({
        "os": "windows", "architecture": "arm64", "variant": "v8", "os.version": "10.0.1",
        "os.features": ["win32k"], "features": ["sse4"],
    });
    listed["artifactType"] = json!("application/x.example");
    let index = plain_index(&[listed.clone(), pointer(INDEX, b"index"), listed]);
    for _ in 0..2000 {
        for (kind, plain) in [
            ("config", &config),
            ("manifest", &manifest),
            ("manifest", &index),
        ] {
            let (text, is_plain) = random.document(plain);
            cases.push(Case {
                kind,
                text,
                is_plain,
            });
        }
    }
    for number in 0..2000 {
        let root = directory.path().join(number.to_string());
        let is_plain = layout(&mut random, &root);
        let text = root.to_str().expect("a path of ours").to_owned();
        cases.push(Case {
            kind: "layout",
            text,
            is_plain,
        });
    }
    let mut counts: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (case, judged) in cases.iter().zip(judge(&program, &cases)) {
        let ours = understood(case);
        let refused = judged.is_null()
            || ours.as_ref().is_some_and(|ours| {
                ours.as_object().is_some_and(|kinds| {
                    kinds.len() == 1
                        && kinds
                            .keys()
                            .any(|kind| judged.get(kind).is_some_and(Value::is_null))
                })
            });
        let counts = counts.entry(case.kind).or_default();
        counts[0] += 1;
        let Some(ours) = ours else {
            if case.is_plain {
                wrong.push(format!("a plain {} is refused: {}", case.kind, case.text));
            }
            continue;
        };
        counts[1] += 1;
        if case.is_plain && refused {
            wrong.push(format!(
                "the judge refuses a plain {}: {}",
                case.kind, case.text
            ));
        }
        if !refused {
            counts[2] += 1;
            if !agree(case.kind, &ours, &judged) {
                wrong.push(format!(
                    "{}: {}\n  ours: {ours}\n  Go's: {judged}",
                    case.kind, case.text
                ));
            }
        }
    }
    assert_eq!(cases.len(), 8000);
    for (kind, [all, ours, both]) in counts {
        println!("{kind}: {all} made, {ours} accepted here, {both} by both");
        assert!(
            both * 10 > all && ours < all,
            "{kind}: too few are accepted, or too many"
        );
    }
    let shown: Vec<&String> = wrong.iter().take(5).collect();
    assert!(
        wrong.is_empty(),
        "{} of {}: {shown:#?}",
        wrong.len(),
        cases.len()
    );
}

#[test]
fn what_both_take_for_a_platform_is_one_image() {
    let directory = tempfile::tempdir().expect("there is room");
    let program = build_judge(directory.path());
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let cases: Vec<Case> = (0..2000)
        .map(|number| {
            let root = directory.path().join(number.to_string());
            choice(&mut random, &root);
            let text = root.to_str().expect("a path of ours").to_owned();
            Case {
                kind: "choice",
                text,
                is_plain: false,
            }
        })
        .collect();
    let wanted: Platform = "linux/amd64".parse().expect("a platform");
    let (mut both, mut refused) = (0, 0);
    let mut wrong = Vec::new();
    for (case, judged) in cases.iter().zip(judge(&program, &cases)) {
        let ours = find_image(Path::new(&case.text), Some(&wanted)).ok();
        let Some(ours) = ours.map(|image| json!(image.descriptor.digest)) else {
            refused += 1;
            continue;
        };
        if !judged.is_null() {
            both += 1;
            if ours != judged {
                wrong.push(format!("{}: ours {ours}, Go's {judged}", case.text));
            }
        }
    }
    println!("{refused} refused here, {both} taken by both");
    assert!(both > 200 && refused > 200, "{both}, {refused}");
    let kept = (!wrong.is_empty()).then(|| directory.keep());
    assert!(
        wrong.is_empty(),
        "{} in {kept:?}: {:#?}",
        wrong.len(),
        &wrong[..1]
    );
}
