//! What Bazel's remote cache gets of a layout, and what comes back from it.

use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use oci_pull_all_e2e::bazel::Workspace;
use oci_pull_all_e2e::bazel_remote::BazelRemote;
use oci_pull_all_e2e::layout::verify;
use oci_pull_all_e2e::nginx::Nginx;
use oci_pull_all_support::Registry;
use oci_pull_all_support::layout::content;

struct Case {
    registry: Registry,
    layers: Vec<(String, u64)>,
    workspace: Workspace,
}

impl Case {
    fn new() -> Self {
        let registry = Registry::with_base_images();
        let digest = registry.digest("library/debian", "stable");
        let layers = registry.layers(&digest);
        let workspace = Workspace::on_debian("caches", &registry);
        workspace.hash_as_caches_do();
        Self {
            registry,
            layers,
            workspace,
        }
    }

    /// The one of all tests here, each of which has it to itself.
    fn shared() -> MutexGuard<'static, Self> {
        static CASE: LazyLock<Mutex<Case>> = LazyLock::new(|| Mutex::new(Case::new()));
        let case = CASE.lock().unwrap_or_else(PoisonError::into_inner);
        // What another test left to its cache is gone with it.
        case.workspace.succeed(&["clean"]);
        case
    }

    /// The layers of the base among what was moved, and how often each was.
    fn of_base(&self, moved: &[(String, u64)]) -> BTreeMap<&str, usize> {
        let mut found = BTreeMap::new();
        for (path, _) in moved {
            let layer = self
                .layers
                .iter()
                .find(|(digest, _)| path.strip_prefix("/cas/") == digest.strip_prefix("sha256:"));
            if let Some((digest, _)) = layer {
                *found.entry(digest.as_str()).or_default() += 1;
            }
        }
        found
    }

    /// The layers of the amd64 base, each of them once.
    fn once(&self, layout: &str) -> BTreeMap<&str, usize> {
        let (_, blobs) = content(&self.workspace.output(layout));
        let names: Vec<_> = blobs
            .iter()
            .map(|(hex, _)| format!("sha256:{hex}"))
            .collect();
        let layers = self.layers.iter().map(|(digest, _)| digest);
        let layers = layers.filter(|digest| names.contains(digest));
        layers.map(|digest| (digest.as_str(), 1)).collect()
    }
}

fn remote(cache: &Nginx) -> String {
    format!("--remote_cache=http://{}", cache.host())
}

#[test]
fn layouts_are_cached_without_their_base() {
    let case = Case::shared();
    let cache = Nginx::cache();
    let remote = remote(&cache);
    let links = ["//:link_1", "//:link_2", "//:link_3"];
    let files = ["//:file_1", "//:file_2", "//:file_3"];
    let workspace = &case.workspace;
    let archives = ["//:archive_1", "//:archive_2", "//:archive_3"];
    workspace.succeed(&[&["build", &remote][..], &links, &files, &archives].concat());
    let uploaded = cache.uploaded();
    assert!(uploaded.iter().any(|(path, _)| path.starts_with("/ac/")));
    // An archive is large, under a digest of its own.
    let large: Vec<_> = uploaded.iter().filter(|(_, n)| *n > 1_000_000).collect();
    assert_eq!(large, Vec::<&(String, u64)>::new());
    assert_eq!(case.of_base(&uploaded), BTreeMap::new());

    workspace.succeed(&["clean"]);
    let run = workspace.succeed(&["build", &remote, "//:link_1", "//:file_1"]);
    let mut runners = run.runners("OCILayout");
    runners.sort_unstable();
    assert_eq!(runners, ["linux-sandbox", "remote cache hit"]);
    let [link, file] = ["link_1", "file_1"].map(|name| workspace.output(name));
    verify(&link);
    assert!(content(&link) == content(&file));

    // The links are relative, so they are right in every output base.
    let mut second = Workspace::on_debian("caches", &case.registry);
    second.hash_as_caches_do();
    second.set_env(
        "OCI_PULL_ALL_STORE",
        Some(&workspace.directory().join("store").display().to_string()),
    );
    let run = second.succeed(&["build", &remote, "//:link_1"]);
    assert_eq!(run.runners("OCILayout"), ["remote cache hit"]);
    let cached = second.output("link_1");
    verify(&cached);
    assert!(content(&cached) == content(&file));
}

#[test]
fn minimal_downloads_suffice_for_a_scan() {
    let case = Case::shared();
    let cache = Nginx::cache();
    let remote = remote(&cache);
    let test = ["test", &remote, "--remote_download_minimal"];
    for scan in ["//:scan_link", "//:scan_file"] {
        let scan = |more: &[&str]| {
            case.workspace.succeed(&["clean"]);
            case.workspace.succeed(&[&test[..], more, &[scan]].concat())
        };
        // Bazel spawns the scan, and then what makes its test.xml.
        for (more, runner) in [
            (&[][..], "linux-sandbox"),
            (&[], "remote cache hit"),
            (&["--nocache_test_results"], "linux-sandbox"),
        ] {
            assert_eq!(scan(more).runners("TestRunner")[0], runner, "{more:?}");
        }
    }
    assert_eq!(case.of_base(&cache.uploaded()), BTreeMap::new());
    assert_eq!(case.of_base(&cache.downloaded()), BTreeMap::new());
}

#[test]
fn the_base_is_cached_on_demand() {
    let case = Case::shared();
    let cache = Nginx::cache();
    let remote = remote(&cache);
    let workspace = &case.workspace;
    let layouts = ["//:cached_1", "//:cached_2", "//:cached_3"];
    let build = [&["build", &remote][..], &layouts].concat();
    workspace.succeed(&build);
    let once = case.once("cached_1");
    assert!(once.len() >= 2, "a base worth its name: {once:?}");
    assert_eq!(
        case.of_base(&cache.uploaded()),
        once,
        "three layouts of one build send each layer of their base once"
    );
    let expected = content(&workspace.output("cached_1"));

    workspace.succeed(&["clean"]);
    let run = workspace.succeed(&["build", &remote, "//:cached_1"]);
    assert_eq!(run.runners("OCILayout"), ["remote cache hit"]);
    let cached = workspace.output("cached_1");
    verify(&cached);
    assert!(content(&cached) == expected);
    assert_eq!(case.of_base(&cache.downloaded()), once);

    // A scan whose result is known needs no layout.
    let test = [
        "test",
        &remote,
        "--remote_download_minimal",
        "//:scan_cached",
    ];
    workspace.succeed(&test);
    workspace.succeed(&["clean"]);
    let run = workspace.succeed(&test);
    assert_eq!(run.runners("OCILayout"), ["remote cache hit"]);
    assert_eq!(run.runners("TestRunner")[0], "remote cache hit");
    assert_eq!(case.of_base(&cache.downloaded()), once);
}

#[test]
fn bazel_remote_gives_back_what_it_was_sent_and_is_sent_no_base() {
    let case = Case::shared();
    let Some(cache) = BazelRemote::empty() else {
        return;
    };
    let remote = cache.flag();
    let has = || {
        let layers = case.layers.iter();
        layers.filter(|(digest, _)| cache.has(digest)).count()
    };
    let workspace = &case.workspace;
    let links = ["test", &remote, "//:link_1", "//:scan_link"];
    workspace.succeed(&links);
    assert_eq!(has(), 0);
    let cached = ["build", &remote, "//:cached_1"];
    workspace.succeed(&cached);
    let expected = content(&workspace.output("cached_1"));
    assert_eq!(has(), case.once("cached_1").len());

    workspace.succeed(&["clean"]);
    let run = workspace.succeed(&links);
    assert_eq!(run.runners("TestRunner")[0], "remote cache hit");
    let run = workspace.succeed(&cached);
    assert_eq!(run.runners("OCILayout"), ["remote cache hit"]);
    for layout in ["link_1", "cached_1"] {
        let layout = workspace.output(layout);
        verify(&layout);
        assert!(content(&layout) == expected);
    }
}

#[test]
fn the_disk_cache_gets_no_base_either() {
    let case = Case::shared();
    let workspace = &case.workspace;
    let directory = workspace.directory().join("disk");
    let disk = format!("--disk_cache={}", directory.display());
    let in_cache = || {
        case.layers
            .iter()
            .filter_map(|(digest, _)| digest.strip_prefix("sha256:"))
            .filter(|hex| directory.join("cas").join(&hex[..2]).join(hex).exists())
            .count()
    };
    let build = |layouts: [&str; 2]| {
        workspace.succeed(&["clean"]);
        workspace.succeed(&[&["build", &disk][..], &layouts].concat())
    };
    build(["//:link_1", "//:file_1"]);
    assert!(directory.join("cas").is_dir());
    assert_eq!(in_cache(), 0);
    build(["//:cached_1", "//:cached_2"]);
    assert_eq!(in_cache(), case.once("cached_1").len());
    let run = build(["//:link_1", "//:cached_1"]);
    assert_eq!(run.runners("OCILayout"), ["disk cache hit"; 2]);
    for layout in ["link_1", "cached_1"] {
        verify(&workspace.output(layout));
    }
}
