//! bazel-remote on a free loopback port: a remote cache of Bazel's that speaks gRPC.

use std::fs;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::peer::Peer;
use crate::port::listening;

/// A running bazel-remote. It ends when dropped.
#[derive(Debug)]
pub struct BazelRemote {
    process: Child,
    host: String,
    directory: TempDir,
}

impl BazelRemote {
    /// An empty cache. Where it cannot be had, the calling test is skipped.
    pub fn empty() -> Option<Self> {
        let program = Peer::BazelRemote.or_skip()?;
        let directory = crate::scratch();
        let (process, host) = listening(|host| {
            Command::new(&program)
                .args(["--max_size", "1", "--grpc_address", host])
                .arg("--http_address")
                .arg(format!(
                    "unix://{}",
                    directory.path().join("http").display()
                ))
                .arg("--dir")
                .arg(directory.path().join("cache"))
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("bazel-remote can be run")
        })
        .expect("bazel-remote starts");
        Some(Self {
            process,
            host,
            directory,
        })
    }

    /// The flag by which Bazel uses it.
    pub fn flag(&self) -> String {
        format!("--remote_cache=grpc://{}", self.host)
    }

    /// Whether it has the blob of this digest.
    pub fn has(&self, digest: &str) -> bool {
        let hex = digest.strip_prefix("sha256:").expect("a digest");
        let blobs = self.directory.path().join("cache/cas.v2").join(&hex[..2]);
        let names = fs::read_dir(blobs).expect("it makes them all when it starts");
        names
            .map(|entry| entry.expect("can be read").file_name())
            .any(|name| name.to_string_lossy().starts_with(hex))
    }
}

impl Drop for BazelRemote {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
