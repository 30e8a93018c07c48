//! Debian's container engines, each with its images in a directory of the test's own.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::log::Log;
use crate::root::{Life, Root};
use crate::scratch;

/// Where the daemon sees the engine's directory.
const INSIDE: &str = "/run/engine";

/// Where Docker keeps images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DockerStore {
    /// In its own store, one layer on the other.
    Layers,
    /// In containerd's, as the registry has them.
    Containerd,
}

/// How podman keeps the files of images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodmanStore {
    /// Each layer is a copy of the one below, with what it changes.
    Vfs,
    /// Each layer has what it changes, and the kernel puts them one on the other.
    Overlay,
}

/// An engine. Its daemon, if it has one, ends when this is dropped.
#[derive(Debug)]
pub struct Engine {
    /// The program by which users speak to it.
    pub program: &'static str,
    environment: Vec<(&'static str, String)>,
    daemon: Option<(Child, Log)>,
    directory: TempDir,
}

impl Engine {
    /// Podman, which has no daemon.
    pub fn podman(store: PodmanStore) -> Self {
        let directory = scratch();
        let home = directory.path().display();
        let driver = match store {
            PodmanStore::Vfs => "vfs",
            PodmanStore::Overlay => "overlay",
        };
        let storage = format!(
            "[storage]\ndriver = \"{driver}\"\ngraphroot = \"{home}/root\"\nrunroot = \"{home}/run\"\n"
        );
        let containers = format!(
            "[engine]\ntmp_dir = \"{home}/tmp\"\nimage_copy_tmp_dir = \"{home}\"\n\
             events_logger = \"none\"\n"
        );
        let file = |name: &str, text: String| {
            let path = directory.path().join(name);
            fs::write(&path, text).expect("can be written");
            path.display().to_string()
        };
        let environment = vec![
            ("CONTAINERS_STORAGE_CONF", file("storage.conf", storage)),
            ("CONTAINERS_CONF", file("containers.conf", containers)),
        ];
        Self {
            program: "podman",
            environment,
            daemon: None,
            directory,
        }
    }

    /// Docker.
    pub fn docker(store: DockerStore) -> Self {
        let directory = scratch();
        let [driver, feature] = match store {
            DockerStore::Layers => ["vfs", "false"],
            DockerStore::Containerd => ["native", "true"],
        };
        let daemon = start(
            &directory,
            &[
                "dockerd",
                "--bridge=none",
                "--iptables=false",
                "--ip6tables=false",
                &format!("--host=unix://{INSIDE}/socket"),
                &format!("--data-root={INSIDE}/data"),
                &format!("--storage-driver={driver}"),
                &format!("--feature=containerd-snapshotter={feature}"),
            ],
            "API listen on",
        );
        let socket = directory.path().join("socket");
        Self {
            program: "docker",
            environment: vec![("DOCKER_HOST", format!("unix://{}", socket.display()))],
            daemon: Some(daemon),
            directory,
        }
    }

    /// containerd, with its images in this namespace.
    pub fn containerd(namespace: &str) -> Self {
        let directory = scratch();
        let config = format!(
            "version = 3\n\
             root = \"{INSIDE}/root\"\n\
             state = \"{INSIDE}/state\"\n\
             disabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.cri.v1.images\", \
             \"io.containerd.cri.v1.runtime\"]\n\
             [grpc]\n\
             address = \"{INSIDE}/socket\"\n\
             [[plugins.\"io.containerd.transfer.v1.local\".unpack_config]]\n\
             platform = \"linux/amd64\"\n\
             snapshotter = \"native\"\n"
        );
        fs::write(directory.path().join("config.toml"), config).expect("can be written");
        let daemon = start(
            &directory,
            &["containerd", &format!("--config={INSIDE}/config.toml")],
            "containerd successfully booted",
        );
        let socket = directory.path().join("socket");
        let environment = vec![
            ("CONTAINERD_ADDRESS", socket.display().to_string()),
            ("CONTAINERD_NAMESPACE", namespace.to_owned()),
            ("CONTAINERD_SNAPSHOTTER", "native".to_owned()),
        ];
        Self {
            program: "ctr",
            environment,
            daemon: Some(daemon),
            directory,
        }
    }

    /// The variables by which its program finds it.
    pub fn environment(&self) -> &[(&'static str, String)] {
        &self.environment
    }

    /// The directory in which it has all that it has, and its socket.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A program of the root that finds the engine as its own does, and sees these directories.
    pub fn command(&self, shared: &[&Path], program: &str) -> Command {
        let shared = [&[self.directory.path()][..], shared].concat();
        let mut command = Root::get().command(Life::Child, &shared, "env");
        let variables = self.environment.iter();
        command.args(variables.map(|(name, value)| format!("{name}={value}")));
        command.arg(program);
        command
    }

    /// What its program prints for these arguments, with which it must succeed.
    ///
    /// # Panics
    /// If it does not.
    pub fn asked(&self, arguments: &[&str]) -> String {
        let output = self
            .command(&[], self.program)
            .args(arguments)
            .output()
            .expect("can be run");
        assert!(
            output.status.success(),
            "{} {arguments:?}: {output:?}",
            self.program
        );
        String::from_utf8(output.stdout).expect("UTF-8")
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some((process, log)) = &mut self.daemon {
            // bwrap takes all that the daemon started with it.
            let _ = process.kill();
            let _ = process.wait();
            log.wait_for_end();
        }
    }
}

/// Starts a daemon, apart from the machine and its network, and waits until it writes this.
fn start(directory: &TempDir, command: &[&str], ready: &str) -> (Child, Log) {
    let mut bwrap: Command = Root::get().isolated(&[(directory.path(), INSIDE)]);
    // dockerd looks for the control groups.
    bwrap.args(["--ro-bind", "/sys", "/sys"]);
    bwrap.args(["--setenv", "PATH", "/usr/sbin:/usr/bin:/bin"]);
    let mut process = bwrap
        .arg("--")
        .args(command)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("bwrap can be run");
    let mut log = Log::of(&mut process);
    log.wait_for(ready);
    (process, log)
}
