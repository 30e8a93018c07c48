//! Other projects' programs of today, which judge what this one makes and serves. `docs/peers.md` lists them.

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

use oci_pull_all_support::rootfs::Layer;
use oci_pull_all_support::{Images, SKIPPED};
use tar::EntryType;

use crate::{cache, checkout, script};

/// The exit code of `e2e/peer` where a program cannot be had on this machine.
const UNAVAILABLE: i32 = 69;

/// A program that `e2e/peer` makes of what stands in `e2e/peers`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Checks workflows of GitHub Actions.
    Actionlint,
    /// A remote cache of Bazel.
    BazelRemote,
    /// Formats and lints Starlark.
    Buildifier,
    /// Edits BUILD files; `bazel mod tidy` runs it.
    Buildozer,
    /// Tests what is in an image.
    ContainerStructureTest,
    /// Signs images and verifies signatures.
    Cosign,
    /// A registry client, that of go-containerregistry.
    Crane,
    /// A vulnerability scanner.
    Grype,
    /// A registry in memory with the referrers API.
    Ociserver,
    /// A registry client.
    Oras,
    /// A vulnerability scanner.
    OsvScanner,
    /// A registry client, that of regclient.
    Regctl,
    /// CNCF Distribution, a registry.
    Registry,
    /// Lists what is in an image.
    Syft,
    /// A vulnerability scanner.
    Trivy,
}

impl Peer {
    /// All of them, in the order of their names.
    pub const ALL: [Self; 15] = [
        Self::Actionlint,
        Self::BazelRemote,
        Self::Buildifier,
        Self::Buildozer,
        Self::ContainerStructureTest,
        Self::Cosign,
        Self::Crane,
        Self::Grype,
        Self::Ociserver,
        Self::Oras,
        Self::OsvScanner,
        Self::Regctl,
        Self::Registry,
        Self::Syft,
        Self::Trivy,
    ];

    /// The name of the program, and of its directory in `e2e/peers`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Actionlint => "actionlint",
            Self::BazelRemote => "bazel-remote",
            Self::Buildifier => "buildifier",
            Self::Buildozer => "buildozer",
            Self::ContainerStructureTest => "container-structure-test",
            Self::Cosign => "cosign",
            Self::Crane => "crane",
            Self::Grype => "grype",
            Self::Ociserver => "ociserver",
            Self::Oras => "oras",
            Self::OsvScanner => "osv-scanner",
            Self::Regctl => "regctl",
            Self::Registry => "registry",
            Self::Syft => "syft",
            Self::Trivy => "trivy",
        }
    }

    /// What the program is made of.
    pub fn recipe(self) -> PathBuf {
        checkout().join("e2e/peers").join(self.name())
    }

    /// Where all that were made are, each in a directory of its own.
    ///
    /// # Panics
    /// If it cannot be made.
    pub fn directory() -> PathBuf {
        let directory = cache().join("peers");
        fs::create_dir_all(&directory).expect("it can be made");
        directory
    }

    /// The program, made if this user has none yet and checked once by this process, or why it cannot be had on this machine.
    ///
    /// # Panics
    /// If the program is not what is pinned, or does not run.
    pub fn find(self) -> Result<PathBuf, String> {
        static FOUND: [OnceLock<Result<PathBuf, String>>; Peer::ALL.len()] =
            [const { OnceLock::new() }; Peer::ALL.len()];
        FOUND[self as usize].get_or_init(|| self.make()).clone()
    }

    fn make(self) -> Result<PathBuf, String> {
        let output = script("e2e/peer")
            .arg(self.name())
            // An older Go fetches the one that is asked for, which distributions forbid by default.
            .env("GOTOOLCHAIN", "auto")
            .output()
            .expect("e2e/peer can be run");
        let messages = String::from_utf8_lossy(&output.stderr);
        eprint!("{messages}");
        if output.status.success() {
            let path = String::from_utf8(output.stdout).expect("a path in UTF-8");
            return Ok(path.trim_end().into());
        }
        let cause = messages.lines().last().unwrap_or_default();
        assert_eq!(output.status.code(), Some(UNAVAILABLE), "{cause}");
        Err(cause.to_owned())
    }

    /// As [`Peer::find`]. If it cannot be had, the calling test is skipped: it is counted as that, and must return.
    ///
    /// # Panics
    /// As [`Peer::find`], and if the program cannot be had in CI, or where nobody counts the tests that are skipped.
    pub fn or_skip(self) -> Option<PathBuf> {
        match self.find() {
            Ok(program) => Some(program),
            Err(cause) => {
                skip_counted(&cause);
                None
            }
        }
    }

    /// Adds an image of the program, which it has at `path`; returns its digest. As [`Peer::or_skip`].
    ///
    /// # Panics
    /// As [`Peer::or_skip`].
    pub fn image_or_skip(
        self,
        images: &mut Images,
        repository: &str,
        path: &str,
    ) -> Option<String> {
        let program = fs::read(self.or_skip()?).expect("can be read");
        let layer = Layer::new().add(EntryType::Regular, path, 0o755, "", &program);
        let created = "2026-10-01T00:00:00Z";
        Some(images.add_image_of(repository, layer.0, |config| {
            config["created"] = created.into();
        }))
    }
}

/// Counts the calling test as skipped, which must return.
///
/// # Panics
/// In CI, and where nobody counts the tests that are skipped.
pub fn skip_counted(cause: &str) {
    let is_ci = std::env::var_os("CI").is_some_and(|ci| ci == "true");
    assert!(
        is_ci || std::env::var_os(SKIPPED).is_some(),
        "{cause}, and only e2e/test counts what is skipped"
    );
    oci_pull_all_support::skip(cause);
}
