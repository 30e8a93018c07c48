//! `docs/ci.md`: its commands, in one job and then in the next one, on a machine that has only what was kept.

use std::fs;
use std::path::Path;
use std::process::Command;

use oci_pull_all_e2e::bazel::Workspace;
use oci_pull_all_e2e::docker_registry::DockerRegistry;
use oci_pull_all_e2e::page::{blocks, write_files};
use oci_pull_all_e2e::peer::Peer;
use oci_pull_all_e2e::{checkout, scratch};

struct Job {
    workspace: Workspace,
    page: String,
}

impl Job {
    fn new(registry: &DockerRegistry, cache: &Path) -> Self {
        let mut workspace = Workspace::on_debian("demo", registry);
        let store = cache.join("oci_pull_all").display().to_string();
        workspace.set_env("OCI_PULL_ALL_STORE", Some(&store));
        let page = fs::read_to_string(checkout().join("docs/ci.md")).expect("can be read");
        Self { workspace, page }
    }

    /// What the page shows after `bazel` in the line that has this word.
    fn arguments(&self, word: &str) -> Vec<&str> {
        blocks(&self.page)
            .into_iter()
            .flat_map(|(_, text)| text.lines())
            .find_map(|line| line.strip_prefix("bazel ").filter(|_| line.contains(word)))
            .unwrap_or_else(|| panic!("the page runs no {word}"))
            .split(' ')
            .collect()
    }
}

#[test]
fn the_workflow_is_one() {
    let Some(actionlint) = Peer::Actionlint.or_skip() else {
        return;
    };
    let files = scratch();
    let page = fs::read_to_string(checkout().join("docs/ci.md")).expect("can be read");
    write_files(&page, files.path());
    let workflow = files.path().join(".github/workflows/images.yml");
    let output = Command::new(actionlint).arg(&workflow).output();
    let output = output.expect("actionlint can be run");
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn the_page_on_ci_is_true() {
    let mut registry = DockerRegistry::with_base_images();
    let cache = scratch();

    let job = Job::new(&registry, cache.path());
    job.workspace.succeed(&job.arguments("test"));
    assert!(!registry.requests().is_empty());
    let pruned = job.workspace.succeed(&job.arguments("prune"));
    assert!(pruned.stdout.contains("removed 0 blobs"), "{pruned:?}");
    let program = "@oci_pull_all//oci:oci-pull-all";
    assert!(
        job.page
            .contains(&format!("bazel cquery --output=files {program}"))
    );
    let listed = job
        .workspace
        .succeed(&["cquery", "--output=files", program])
        .stdout;
    job.workspace.succeed(&job.arguments("build @oci_pull_all"));
    let root = job.workspace.info("execution_root");
    let kept = cache.path().join("oci-pull-all");
    fs::copy(root.join(listed.trim_end()), &kept).expect("can be copied");

    let mut next = Job::new(&registry, cache.path());
    next.workspace.set_env("OCI_PULL_ALL_TOOL", kept.to_str());
    let before = registry.requests().len();
    next.workspace.succeed(&next.arguments("test"));
    assert_eq!(
        registry.requests().len(),
        before,
        "the next job asked the registry"
    );

    let module = next.workspace.path("MODULE.bazel");
    let text = fs::read_to_string(&module).expect("can be read");
    let digest = registry.digest("library/debian", "stable");
    let pinned = text.replace(
        &format!("\"{digest}\","),
        &format!("\"{digest}\",  # stable"),
    );
    assert_ne!(pinned, text);
    fs::write(&module, &pinned).expect("can be written");
    next.workspace.succeed(&next.arguments("--check"));
    let outdated = pinned.replace(&digest, &registry.digest("library/debian-docker", "stable"));
    fs::write(&module, outdated).expect("can be written");
    let messages = next.workspace.fail(&next.arguments("--check"));
    assert!(messages.contains("outdated: base"), "{messages}");
}
