//! A small base image in the shape of a distribution's: an index with images for two platforms and an
//! attestation, as buildx writes it.

use std::sync::LazyLock;

use serde_json::{Value, json};

use crate::content::{CONFIG, INDEX, MANIFEST, digest, gzip, noise, text};
use crate::images::Images;

const DOCKER: &str = "application/vnd.docker.";
const AMD64: &[(&str, &str)] = &[("architecture", "amd64"), ("os", "linux")];
const ARM64: &[(&str, &str)] = &[
    ("architecture", "arm64"),
    ("os", "linux"),
    ("variant", "v8"),
];

/// The repositories `library/debian` and `library/debian-docker`, with the tag `stable`: an index of images
/// for linux/amd64 and linux/arm64/v8 with two layers each, of which they share one, in the formats of OCI,
/// where it has an attestation too, and of Docker.
pub fn images() -> Images {
    static IMAGES: LazyLock<Images> = LazyLock::new(make);
    IMAGES.clone()
}

/// A `var/lib/dpkg/status` of packages, each its name and version.
pub fn dpkg_status(packages: &[(&str, &str)]) -> String {
    let package = |(name, version): &(&str, &str)| {
        format!(
            "Package: {name}\nStatus: install ok installed\nMaintainer: a <a@example.org>\n\
             Architecture: amd64\nVersion: {version}\nDescription: x\n\n"
        )
    };
    packages.iter().map(package).collect()
}

/// A Debian package of these members, which are to be `debian-binary`, `control.tar` and `data.tar` with their endings.
pub fn deb(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut package = b"!<arch>\n".to_vec();
    for (name, content) in members {
        let size = content.len();
        let header = format!(
            "{name:<16}{:<12}{:<6}{:<6}{:<8}{size:<10}`\n",
            0, 0, 0, 100_644
        );
        package.extend(header.bytes());
        package.extend(*content);
        package.resize(package.len().next_multiple_of(2), b'\n');
    }
    package
}

fn make() -> Images {
    let mut images = Images::default();
    let name = "library/debian";
    let amd64 = file_system("amd64", 5_000_000);
    let arm64 = file_system("arm64", 100_000);
    let note = tar(&[("etc/oci_pull_all_base", b"the tests' base image\n".to_vec())]);
    for (name, docker) in [(name, false), ("library/debian-docker", true)] {
        let mut image = |platform, layer: &[u8]| {
            add_image(&mut images, name, docker, platform, &[layer, &note])
        };
        let mut entries = vec![image(AMD64, &amd64), image(ARM64, &arm64)];
        let media_type = if docker {
            format!("{DOCKER}distribution.manifest.list.v2+json")
        } else {
            let attestation = attestation(&mut images, name, &entries[0]);
            entries.push(attestation);
            INDEX.to_owned()
        };
        let index = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": entries});
        let index = images.add_manifest(name, &media_type, index.to_string().into_bytes());
        images.tag(name, "stable", text(&index["digest"]));
    }
    images
}

fn add_image(
    images: &mut Images,
    name: &str,
    docker: bool,
    platform: &[(&str, &str)],
    tars: &[&[u8]],
) -> Value {
    let media_type = |oci: &str, of_docker: &str| {
        if docker {
            format!("{DOCKER}{of_docker}")
        } else {
            oci.to_owned()
        }
    };
    let platform: Value = platform.iter().map(|(key, value)| (*key, *value)).collect();
    let diff_ids: Vec<_> = tars.iter().map(|tar| digest(tar)).collect();
    let layer = media_type(
        "application/vnd.oci.image.layer.v1.tar+gzip",
        "image.rootfs.diff.tar.gzip",
    );
    let layers: Vec<_> = tars
        .iter()
        .map(|tar| images.add_blob(name, &layer, gzip(tar)))
        .collect();
    let mut config = json!({
        "created": "2024-01-01T00:00:00Z",
        "config": {"Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"], "Cmd": ["sh"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": [{"created_by": "layer 0"}, {"created_by": "layer 1"}],
    });
    for (key, value) in platform.as_object().expect("an object") {
        config[key] = value.clone();
    }
    let kind = media_type(CONFIG, "container.image.v1+json");
    let config = images.add_blob(name, &kind, config.to_string().into_bytes());
    let kind = media_type(MANIFEST, "distribution.manifest.v2+json");
    let manifest =
        json!({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": layers});
    let mut manifest = images.add_manifest(name, &kind, manifest.to_string().into_bytes());
    manifest["platform"] = platform;
    manifest
}

fn attestation(images: &mut Images, name: &str, subject: &Value) -> Value {
    let statement = json!({"_type": "https://in-toto.io/Statement/v0.1"}).to_string();
    let platform = json!({"architecture": "unknown", "os": "unknown"});
    let mut config = platform.clone();
    config["config"] = json!({});
    config["rootfs"] = json!({"type": "layers", "diff_ids": [digest(statement.as_bytes())]});
    let layer = images.add_blob(name, "application/vnd.in-toto+json", statement.into_bytes());
    let config = images.add_blob(name, CONFIG, config.to_string().into_bytes());
    let manifest =
        json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]});
    let mut manifest = images.add_manifest(name, MANIFEST, manifest.to_string().into_bytes());
    manifest["platform"] = platform;
    manifest["annotations"] = json!({
        "vnd.docker.reference.digest": subject["digest"],
        "vnd.docker.reference.type": "attestation-manifest",
    });
    manifest
}

/// An archive with what a distribution has, and so many bytes that do not compress.
fn file_system(architecture: &str, bytes: usize) -> Vec<u8> {
    let status = format!(
        "Package: base-files\nStatus: install ok installed\nArchitecture: {architecture}\nVersion: 13\n\n"
    );
    let release = "PRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\nID=debian\nVERSION_ID=\"13\"\n";
    tar(&[
        ("etc/debian_version", b"13.1\n".to_vec()),
        ("etc/os-release", release.as_bytes().to_vec()),
        ("usr/lib/noise", noise(bytes as u64, bytes)),
        ("var/lib/dpkg/status", status.into_bytes()),
    ])
}

fn tar(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        let added = archive.append_data(&mut header, name, content.as_slice());
        added.expect("memory can be written");
    }
    archive.into_inner().expect("memory can be written")
}
