//! Signatures, SBOMs and attestations that are pulled with an image.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use oci_pull_all_e2e::bazel::Workspace;
use oci_pull_all_e2e::faulty::{Answer, Content, Faulty, Seen, digest};
use oci_pull_all_e2e::layout::verify;
use oci_pull_all_e2e::registry::{Registry, text};
use oci_pull_all_e2e::root::{Life, Root};
use oci_pull_all_e2e::user::{Ran, User, blobs};
use serde_json::{Value, json};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const EMPTY: &str = "application/vnd.oci.empty.v1+json";
const SIGNATURE: &str = "application/vnd.tests.signature";
const SBOM: &str = "application/vnd.tests.sbom";

/// An index of one image, and what refers to them.
#[derive(Clone, Debug)]
struct Repository {
    content: Content,
    index: Value,
    image: Value,
    lists: BTreeMap<String, Vec<Value>>,
}

impl Repository {
    fn new() -> Self {
        // A tar archive of nothing.
        let content = Content::image(&[vec![0; 10240]]);
        let platform = json!({"os": "linux", "architecture": "amd64"});
        let mut image = content.descriptor(&content.digest.clone());
        image["platform"] = platform;
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [image]});
        let content = content.with_root(INDEX, index.to_string().into_bytes());
        let index = content.descriptor(&content.digest);
        Self {
            content,
            index,
            image,
            lists: BTreeMap::new(),
        }
    }

    /// Adds a manifest of `kind` with this content that refers to `subject`; returns its descriptor.
    fn attach(&mut self, subject: &Value, kind: &str, data: &[u8]) -> Value {
        let layer = self.content.add(kind, data.to_vec());
        self.attach_layers(subject, kind, &[layer])
    }

    fn attach_layers(&mut self, subject: &Value, kind: &str, layers: &[Value]) -> Value {
        let empty = self.content.add(EMPTY, b"{}".to_vec());
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": kind,
            "config": empty,
            "layers": layers,
            "subject": bare(subject),
            "annotations": {"org.tests.kind": kind},
        });
        let manifest = self
            .content
            .add(MANIFEST, manifest.to_string().into_bytes());
        self.list(subject, manifest.clone());
        manifest
    }

    /// Has the registry say that `referrer` refers to `subject`.
    fn list(&mut self, subject: &Value, referrer: Value) {
        let digest = text(&subject["digest"]).to_owned();
        self.lists.entry(digest).or_default().push(referrer);
    }

    /// The usual: a signature of the index, an SBOM of the image and its signature.
    fn signed() -> (Self, [Value; 3]) {
        let mut repository = Self::new();
        let (index, image) = (repository.index.clone(), repository.image.clone());
        let signature = repository.attach(&index, SIGNATURE, b"of the index");
        let sbom = repository.attach(&image, SBOM, b"of the image");
        let of_sbom = repository.attach(&sbom, SIGNATURE, b"of the SBOM");
        (repository, [signature, sbom, of_sbom])
    }

    /// The list that a request asks for.
    fn listed(&self, seen: &Seen) -> Option<&[Value]> {
        let (_, digest) = seen.path.split_once("/referrers/")?;
        let digest = digest.split('?').next()?;
        Some(self.lists.get(digest).map_or(&[], Vec::as_slice))
    }

    /// A registry with the API, whose answers to it `spoil` may change.
    fn serve(self, spoil: impl Fn(&Seen, Answer) -> Answer + Send + Sync + 'static) -> Faulty {
        let content = self.content.clone();
        Faulty::start(content, move |seen, answer| match self.listed(seen) {
            Some(list) => spoil(seen, list_of(list)),
            None => answer,
        })
    }

    fn reference(&self, host: &str) -> String {
        format!("{host}/app@{}", text(&self.index["digest"]))
    }
}

fn bare(descriptor: &Value) -> Value {
    let part = |name: &str| descriptor[name].clone();
    json!({"mediaType": part("mediaType"), "digest": part("digest"), "size": part("size")})
}

fn list_of(manifests: &[Value]) -> Answer {
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests});
    Answer::new(200, index.to_string()).header("Content-Type", INDEX)
}

fn pull(user: &User, reference: &str, output: &str, arguments: &[&str]) -> Ran {
    let pull = ["pull", reference, "--output", output, "--referrers"];
    user.run(&[&pull, arguments].concat())
}

fn index_json(layout: &Path) -> Value {
    let bytes = fs::read(layout.join("index.json")).expect("a layout has one");
    serde_json::from_slice(&bytes).expect("JSON")
}

/// The names of the entries of a layout's `index.json` after the image itself.
fn names(layout: &Path) -> Vec<String> {
    let index = index_json(layout);
    let entries = index["manifests"].as_array().expect("manifests");
    let name =
        |entry: &Value| text(&entry["annotations"]["org.opencontainers.image.ref.name"]).to_owned();
    entries[1..].iter().map(name).collect()
}

fn tag_of(subject: &Value) -> String {
    text(&subject["digest"]).replace(':', "-")
}

fn tags_of(subjects: &[&Value]) -> Vec<String> {
    let mut tags: Vec<_> = subjects.iter().map(|subject| tag_of(subject)).collect();
    tags.sort();
    tags
}

/// What oras finds in a layout that refers to its index or to its image, at any depth: digests and artifact
/// types.
fn discovered(layout: &Path, subject: &Value) -> Vec<(String, String)> {
    fn walk(node: &Value, found: &mut Vec<(String, String)>) {
        for referrer in node["referrers"].as_array().into_iter().flatten() {
            let part = |name: &str| text(&referrer[name]).to_owned();
            found.push((part("digest"), part("artifactType")));
            walk(referrer, found);
        }
    }
    // oras finds by its digest only what index.json lists.
    let root = &index_json(layout)["manifests"][0]["digest"];
    let reference = format!("{}@{}", layout.display(), text(root));
    let platform: &[&str] = if *root == subject["digest"] {
        &[]
    } else {
        &["--platform", "linux/amd64"]
    };
    // In Bazel's output, the blobs are links out of the layout.
    let shared = layout.ancestors().find(|path| path.ends_with("e2e"));
    let output = Root::get()
        .command(Life::Child, &[shared.unwrap_or(layout)], "oras")
        .args(["discover", "--oci-layout", "--format", "json", &reference])
        .args(platform)
        .output()
        .expect("oras can be run");
    assert!(output.status.success(), "{output:?}");
    let tree: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let mut found = Vec::new();
    walk(&tree, &mut found);
    found.sort();
    found
}

fn expected(referrers: &[(&Value, &str)]) -> Vec<(String, String)> {
    let mut expected: Vec<_> = referrers
        .iter()
        .map(|(referrer, kind)| (text(&referrer["digest"]).to_owned(), (*kind).to_owned()))
        .collect();
    expected.sort();
    expected
}

#[test]
fn what_refers_to_an_image_comes_with_it() {
    let (repository, [signature, sbom, of_sbom]) = Repository::signed();
    let (index, image) = (repository.index.clone(), repository.image.clone());
    let registry = repository.clone().serve(|_, answer| answer);
    let reference = repository.reference(&registry.host());
    let user = User::new();

    user.run(&["pull", &reference, "--output", "bare"])
        .succeeded();
    let asked = |seen: &Seen| seen.path.contains("/referrers/");
    assert!(!registry.seen().iter().any(asked), "nobody wanted them");
    assert_eq!(names(&user.path("bare")), Vec::<String>::new());

    pull(&user, &reference, "out", &[]).succeeded();
    let layout = user.path("out");
    verify(&layout);
    // The index, the image with its config and layer; three referrers with one blob each and the empty
    // config; three indexes that list them.
    assert_eq!(blobs(&layout).len(), 4 + 3 * 2 + 1 + 3);
    assert_eq!(names(&layout), tags_of(&[&index, &image, &sbom]));
    assert_eq!(
        index_json(&layout)["manifests"][0]["digest"],
        index["digest"]
    );
    assert_eq!(
        discovered(&layout, &index),
        expected(&[(&signature, SIGNATURE)])
    );
    assert_eq!(
        discovered(&layout, &image),
        expected(&[(&sbom, SBOM), (&of_sbom, SIGNATURE)])
    );
    let mut twice = pull(&user, &reference, "out", &[]).succeeded().stderr;
    twice.retain(|c| c != '\n');
    assert!(twice.contains(" 0 B transferred"), "{twice}");
    pull(&user, &reference, "none", &["--shallow"]).failed(&["--referrers", "--shallow"]);
}

#[test]
fn a_list_comes_in_pages_and_its_order_does_not_matter() {
    let mut repository = Repository::new();
    let image = repository.image.clone();
    for n in 0..5_u8 {
        repository.attach(&image, SIGNATURE, &[n]);
    }
    let straight = repository.clone().serve(|_, answer| answer);
    let lists = repository.clone();
    let paged = repository.clone().serve(move |seen, answer| {
        let Some(list) = lists.listed(seen).filter(|list| !list.is_empty()) else {
            return answer;
        };
        let (path, page) = seen.path.split_once("?page=").unwrap_or((&seen.path, "0"));
        let page: usize = page.parse().expect("a page");
        let answer = list_of(&[list[list.len() - 1 - page].clone()]);
        if page + 1 == list.len() {
            return answer;
        }
        answer.header("Link", format!("<{path}?page={}>; rel=\"next\"", page + 1))
    });
    let content = |registry: &Faulty| {
        let user = User::new();
        let reference = repository.reference(&registry.host());
        pull(&user, &reference, "out", &[]).succeeded();
        verify(&user.path("out"));
        (index_json(&user.path("out")), blobs(&user.path("out")))
    };
    assert_eq!(content(&straight), content(&paged));
    assert_eq!(content(&paged).1.len(), 4 + 5 * 2 + 1 + 1);
}

/// Pulls what the registry lists so, which must fail for these reasons and leave no layout.
fn fails(
    repository: Repository,
    expected: &[&str],
    spoil: impl Fn(&Seen, Answer) -> Answer + Send + Sync + 'static,
) {
    let user = User::new();
    let (root, index) = (repository.reference(""), repository.index.clone());
    let registry = repository.serve(spoil);
    let reference = format!("{}{root}", registry.host());
    let ran = pull(&user, &reference, "out", &[]);
    assert_eq!(ran.stderr.matches("error: ").count(), 1, "{}", ran.stderr);
    ran.failed(&[&[text(&index["digest"])], expected].concat());
    assert!(!user.path("out/index.json").exists());
    user.run(&["store", "verify"]).succeeded();
}

#[test]
fn lists_that_lie() {
    let unspoilt = |_: &Seen, answer: Answer| answer;
    let (mut repository, [signature, ..]) = Repository::signed();
    let image = repository.image.clone();
    repository.list(&image, signature.clone());
    let said = [text(&signature["digest"]), text(&image["digest"]), "refers"];
    fails(repository, &said, unspoilt);

    let (mut repository, _) = Repository::signed();
    repository.list(&image, bare(&image));
    fails(repository, &[text(&image["digest"]), "refers"], unspoilt);

    let (mut repository, [mut signature, ..]) = Repository::signed();
    signature["size"] = json!(5);
    repository.lists.clear();
    repository.list(&image, signature);
    fails(repository, &["has 5 and"], unspoilt);

    let (mut repository, _) = Repository::signed();
    let digest = digest(b"not there");
    let missing = json!({"mediaType": MANIFEST, "digest": digest, "size": 5});
    repository.list(&image, missing);
    fails(repository, &[&digest, "has none"], unspoilt);

    let (repository, _) = Repository::signed();
    fails(repository, &["referrers of", "index"], |_, _| {
        Answer::new(200, "[]").header("Content-Type", INDEX)
    });
    let (repository, _) = Repository::signed();
    fails(repository, &["referrers of", "403"], |_, _| {
        Answer::new(403, "{}")
    });
    let (repository, _) = Repository::signed();
    fails(repository, &["next page", "evil.test"], |_, answer| {
        answer.header("Link", "<http://evil.test/>; rel=\"next\"")
    });
    let (repository, _) = Repository::signed();
    fails(repository, &["more than 100 pages"], |seen, answer| {
        answer.header("Link", format!("<{}x>; rel=\"next\"", seen.path))
    });
}

#[test]
fn what_has_no_end_is_refused() {
    let unspoilt = |_: &Seen, answer: Answer| answer;
    let mut repository = Repository::new();
    let mut subject = repository.image.clone();
    for n in 0..5_u8 {
        subject = repository.attach(&subject, SIGNATURE, &[n]);
    }
    fails(repository, &["more than 4 times"], unspoilt);

    let mut repository = Repository::new();
    let image = repository.image.clone();
    for n in 0..1001_u16 {
        let digest = digest(&n.to_be_bytes());
        let entry = json!({"mediaType": MANIFEST, "digest": digest, "size": 100});
        repository.list(&image, entry);
    }
    fails(repository, &["more than 1000"], unspoilt);

    let mut repository = Repository::new();
    let digest = digest(b"huge");
    let huge = json!({"mediaType": SBOM, "digest": digest, "size": (1_u64 << 30) + 1});
    repository.attach_layers(&image, SBOM, &[huge]);
    fails(repository, &["1 GiB"], unspoilt);
}

#[test]
fn what_is_no_manifest_is_left_out_and_told() {
    let (mut repository, [signature, ..]) = Repository::signed();
    let index = repository.index.clone();
    let old = "application/vnd.oci.artifact.manifest.v1+json";
    let entry = repository.content.add(old, b"{}".to_vec());
    repository.list(&index, entry);
    let registry = repository.clone().serve(|_, answer| answer);
    let user = User::new();
    let reference = repository.reference(&registry.host());
    let ran = pull(&user, &reference, "out", &[]).succeeded();
    assert!(ran.stderr.contains("left out"), "{}", ran.stderr);
    let found = discovered(&user.path("out"), &index);
    assert_eq!(found, expected(&[(&signature, SIGNATURE)]));
}

/// An image in an empty registry of Debian's, which has no API, to which oras attached two files.
struct Attached {
    registry: Registry,
    repository: Repository,
}

impl Attached {
    fn new() -> Self {
        let registry = Registry::empty();
        let repository = Repository::new();
        let user = User::new();
        let source = repository.clone().serve(|_, answer| answer);
        let reference = repository.reference(&source.host());
        user.run(&["pull", &reference, "--output", "seed"])
            .succeeded();
        let oras = |arguments: &[&str]| {
            let output = Root::get()
                .command(Life::Child, &[user.home()], "env")
                .arg(format!("--chdir={}", user.home().display()))
                .arg("oras")
                .args(arguments)
                .output()
                .expect("oras can be run");
            assert!(output.status.success(), "{output:?}");
        };
        let there = repository.reference(registry.host());
        let seed = format!("seed@{}", text(&repository.index["digest"]));
        let tagged = format!("{}/app:v1", registry.host());
        oras(&["cp", "--from-oci-layout", "--to-plain-http", &seed, &tagged]);
        fs::write(user.path("sbom.json"), "{\"sbom\": 1}").expect("can be written");
        let attach = ["attach", "--plain-http", "--artifact-type", SBOM];
        oras(&[&attach[..], &[&there, "sbom.json:application/json"]].concat());
        let image = text(&repository.image["digest"]);
        let image = format!("{}/app@{image}", registry.host());
        oras(&[&attach[..], &[&image, "sbom.json:application/json"]].concat());
        Self {
            registry,
            repository,
        }
    }
}

#[test]
fn a_registry_without_the_api_has_tags() {
    let attached = Attached::new();
    let Repository { index, image, .. } = &attached.repository;
    let host = attached.registry.host();
    let reference = attached.repository.reference(host);
    let user = User::new();
    pull(&user, &reference, "out", &[]).succeeded();
    let layout = user.path("out");
    verify(&layout);
    assert_eq!(names(&layout), tags_of(&[index, image]));
    for subject in [index, image] {
        let found = discovered(&layout, subject);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].1, SBOM);
    }

    // A mirror that has the image alone does not tell that nothing refers to it.
    let mirror = attached.repository.clone();
    let mirror = Faulty::start(mirror.content, |_, answer| answer);
    let user = User::new();
    let mirrors = ["--mirror", &mirror.host()];
    pull(&user, &reference, "out", &mirrors).succeeded();
    assert_eq!(index_json(&user.path("out")), index_json(&layout));
    // Where nothing but mirrors can be reached, it must, and that is told once.
    let user = User::new();
    let elsewhere = attached.repository.reference("127.0.0.1:1");
    let ran = pull(&user, &elsewhere, "out", &["--mirror", host]).succeeded();
    assert_eq!(index_json(&user.path("out")), index_json(&layout));
    let told = ran.stderr.matches("only what the mirrors have").count();
    assert_eq!(told, 1, "{}", ran.stderr);

    // A registry that answers whatever it does not know with a page for people.
    let (repository, [signature, ..]) = Repository::signed();
    let lists = repository.clone();
    let registry = Faulty::start(repository.content.clone(), move |seen, answer| {
        if seen.path.contains("/referrers/") {
            return Answer::new(200, "<html>").header("Content-Type", "text/html");
        }
        let tag = seen.path.rsplit('/').next().unwrap_or_default();
        match lists.lists.get(&tag.replace("sha256-", "sha256:")) {
            Some(list) if tag.starts_with("sha256-") => list_of(list),
            _ => answer,
        }
    });
    let user = User::new();
    pull(&user, &repository.reference(&registry.host()), "out", &[]).succeeded();
    let found = discovered(&user.path("out"), &repository.index);
    assert_eq!(found, expected(&[(&signature, SIGNATURE)]));
}

#[test]
fn bazel_keeps_them_in_layouts_of_the_base_itself() {
    let attached = Attached::new();
    let Repository { index, image, .. } = &attached.repository;
    let name = format!("{}/app", attached.registry.host());
    let values = [("DIGEST", text(&index["digest"])), ("IMAGE", name.as_str())];
    let workspace = Workspace::new("referrers", &values);
    workspace.succeed(&["test", "//..."]);
    workspace.succeed(&["build", "//:archive", "//:rootfs"]);
    for layout in ["base_layout", "other_layout"] {
        let layout = workspace.output(layout);
        assert_eq!(names(&layout), tags_of(&[index, image]));
        let mut found = discovered(&layout, index);
        found.extend(discovered(&layout, image));
        assert_eq!(found.len(), 2, "{found:?}");
    }
    // In an index of others, what refers to the image stays, and what refers to its former index does not.
    let mixed = workspace.output("mixed_layout");
    assert_eq!(names(&mixed), tags_of(&[image]));
    assert_eq!(discovered(&mixed, image).len(), 1);
    for (layout, count) in [("built_layout", 3), ("bare_layout", 4)] {
        let layout = workspace.output(layout);
        assert_eq!(names(&layout), Vec::<String>::new());
        assert_eq!(blobs(&layout).len(), count);
    }
    let archive = fs::metadata(workspace.output("archive.tar")).expect("there");
    assert!(archive.len() > 0);
}
