//! Layouts that the spec allows and few make, and those that mean harm.

use std::path::Path;

use oci_pull_all_support::layout::{add_blob, write_index};
use oci_pull_all_support::{CONFIG, EMPTY, INDEX, LAYER, MANIFEST, User};
use serde_json::{Value, json};

use crate::new_user;

/// A user who makes the layout `layout` by hand.
struct Maker {
    user: User,
}

impl Maker {
    fn new() -> Self {
        Self { user: new_user() }
    }

    fn blob(&self, media_type: &str, bytes: &[u8]) -> Value {
        add_blob(&self.user.path("layout"), media_type, bytes)
    }

    fn document(&self, media_type: &str, value: &Value) -> Value {
        self.blob(media_type, value.to_string().as_bytes())
    }

    fn manifest(&self, config: &Value, layers: &[&Value]) -> Value {
        let manifest = json!({"schemaVersion": 2, "config": config, "layers": layers});
        self.document(MANIFEST, &manifest)
    }

    /// An empty layer, and an image of it.
    fn image(&self) -> (Value, Value) {
        let layer = self.blob(LAYER, &[0; 1024]);
        let config = json!({
            "os": "linux",
            "architecture": "amd64",
            "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
        });
        let config = self.document(CONFIG, &config);
        let image = self.manifest(&config, &[&layer]);
        (layer, image)
    }

    fn index(&self, manifests: &[&Value]) -> Value {
        self.document(INDEX, &json!({"schemaVersion": 2, "manifests": manifests}))
    }

    fn artifact(&self, layer: &Value) -> Value {
        let config = self.blob(EMPTY, b"{}");
        self.manifest(&config, &[layer])
    }

    fn list(&self, manifests: &[&Value]) {
        let manifests: Vec<Value> = manifests.iter().copied().cloned().collect();
        write_index(&self.user.path("layout"), &manifests);
    }

    fn verify(&self) {
        self.user.verify(Path::new("layout"));
    }

    /// The layout is valid after it was archived, too.
    fn archive(&self) {
        let archive = ["layout", "archive", "layout", "--format", "oci"];
        let output = ["--output", "layout.tar"];
        self.user.run(&[&archive[..], &output].concat()).succeeded();
        let unpacked = self.user.path("unpacked");
        std::fs::create_dir(&unpacked).expect("can be made");
        let tar = std::process::Command::new("tar")
            .arg("-xf")
            .arg(self.user.path("layout.tar"))
            .arg("-C")
            .arg(&unpacked)
            .status();
        assert!(tar.is_ok_and(|status| status.success()));
        self.user.run(&["verify", "unpacked"]).succeeded();
    }
}

#[test]
fn a_layer_may_be_an_artifacts_too() {
    let maker = Maker::new();
    let (layer, image) = maker.image();
    let artifact = maker.artifact(&layer);
    maker.list(&[&artifact, &image]);
    maker.verify();
    maker.archive();
}

#[test]
fn a_manifest_may_be_an_artifacts_layer() {
    for order in [[0, 1], [1, 0]] {
        let maker = Maker::new();
        let (_, image) = maker.image();
        let mut as_layer = image.clone();
        as_layer["mediaType"] = json!("application/octet-stream");
        let artifact = maker.artifact(&as_layer);
        // For linux/amd64, what is first counts to some.
        let mut image = image;
        image["platform"] = json!({"os": "linux", "architecture": "arm64"});
        let both = [&image, &artifact];
        maker.list(&[&maker.index(&order.map(|place| both[place]))]);
        maker.verify();
        maker.archive();
    }
}

#[test]
fn an_index_may_list_what_is_no_manifest() {
    let maker = Maker::new();
    let (_, image) = maker.image();
    let text = maker.blob("text/plain", b"of interest");
    maker.list(&[&maker.index(&[&image, &text])]);
    maker.verify();
    maker.archive();
}

#[test]
fn an_image_may_be_for_two_platforms() {
    let maker = Maker::new();
    let (_, image) = maker.image();
    let [amd64, arm64] = ["amd64", "arm64"].map(|architecture| {
        let mut entry = image.clone();
        entry["platform"] = json!({"os": "linux", "architecture": architecture});
        entry
    });
    maker.list(&[&maker.index(&[&amd64, &arm64])]);
    let rootfs = ["layout", "rootfs", "layout", "--tar", "rootfs.tar"];
    for more in [&[][..], &["--platform", "linux/arm64"]] {
        maker.user.run(&[&rootfs[..], more].concat()).succeeded();
    }
}

#[test]
fn many_indexes_are_read_each_once_and_to_any_depth() {
    let maker = Maker::new();
    let (_, image) = maker.image();
    let mut nested = maker.index(&[&image]);
    for _ in 0..20_000 {
        nested = maker.index(&[&nested]);
    }
    maker.list(&[&nested]);
    maker.verify();

    let maker = Maker::new();
    let (_, image) = maker.image();
    let mut large = image.clone();
    for _ in 0..20 {
        // Twice as many ways lead to the image each time.
        large = maker.index(&[&large, &large]);
    }
    maker.list(&[&large]);
    maker.verify();
    maker.archive();
}

#[test]
fn messages_hold_nothing_that_moves_a_cursor() {
    let maker = Maker::new();
    let (layer, _) = maker.image();
    let mut strange = layer.clone();
    strange["mediaType"] = json!("a/b\u{1b}[31mred\nerror: forged");
    let config = maker.blob(CONFIG, b"{}");
    let image = maker.manifest(&config, &[&strange]);
    maker.list(&[&image]);
    for command in [
        &["verify", "layout"][..],
        &["layout", "rootfs", "layout", "--tar", "rootfs.tar"],
    ] {
        let ran = maker.user.run(command);
        assert!(
            !ran.success && !ran.stderr.contains('\u{1b}'),
            "{}",
            ran.stderr
        );
    }
}
