//! Workspaces and the real Bazel that builds them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use oci_pull_all_support::Registry;
use serde_json::Value;
use tempfile::TempDir;

use crate::docker_registry::DockerRegistry;
use crate::peer::Peer;
use crate::remote::RemoteExecution;
use crate::root::{Life, Root};
use crate::server::{Idle, Reaper, empty};
use crate::{checkout, copy_of_checkout, in_target, modules, program, scratch};

/// A workspace such as a user would have, with a Bazel server and a blob store of its own.
#[derive(Debug)]
pub struct Workspace {
    directory: PathBuf,
    sources: PathBuf,
    output: PathBuf,
    registry: PathBuf,
    bazel: Bazel,
    environment: BTreeMap<String, String>,
    shared: Vec<PathBuf>,
    can_be_left: bool,
    runner: &'static str,
    local: Vec<String>,
    // Bazel runs one command at a time, and each writes the same log.
    turn: Mutex<()>,
    plus: OnceLock<String>,
    info: Mutex<BTreeMap<&'static str, PathBuf>>,
    reaper: OnceLock<Reaper>,
    scratch: Option<TempDir>,
}

/// What makes the start of a Bazel server cost about half as much, which matters where it builds little.
const SHORT_LIVED: &str = "startup --host_jvm_args=-XX:TieredStopAtLevel=1\n\
                           startup --host_jvm_args=-XX:+UseSerialGC\n\
                           startup --host_jvm_args=-Xms700m\n\
                           startup --host_jvm_args=-Xmn400m\n\
                           startup --host_jvm_args=-XX:MetaspaceSize=256m\n";

/// A registry that holds base images.
pub trait Bases {
    /// `127.0.0.1:PORT`.
    fn host(&self) -> &str;
    /// The digest that a tag of a repository stands for.
    fn digest(&self, repository: &str, tag: &str) -> String;
}

impl Bases for Registry {
    fn host(&self) -> &str {
        self.host()
    }

    fn digest(&self, repository: &str, tag: &str) -> String {
        self.digest(repository, tag)
    }
}

impl Bases for DockerRegistry {
    fn host(&self) -> &str {
        self.host()
    }

    fn digest(&self, repository: &str, tag: &str) -> String {
        self.digest(repository, tag)
    }
}

/// Which Bazel builds a workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bazel {
    /// The one of the Debian root, with its own module registry.
    Debian,
    /// The user's own, at this path, with the registry that it is set up for.
    Users(PathBuf),
}

impl Bazel {
    /// The one that the environment variable `OCI_PULL_ALL_BAZEL` names, an absolute path or a name on PATH, else
    /// Debian's.
    ///
    /// # Panics
    /// If it names none.
    pub fn chosen() -> Self {
        let Some(name) = std::env::var_os("OCI_PULL_ALL_BAZEL").filter(|name| !name.is_empty())
        else {
            return Self::Debian;
        };
        // cargo runs a test in its package's directory, not where the user is.
        let path = Path::new(&name);
        assert!(
            path.is_absolute() || path.components().count() == 1,
            "OCI_PULL_ALL_BAZEL is {}, but a name on PATH or an absolute path is wanted; e2e/test makes paths absolute",
            path.display()
        );
        let found = Self::on_path(&name);
        Self::Users(
            found.unwrap_or_else(|| panic!("OCI_PULL_ALL_BAZEL: no program {}", name.display())),
        )
    }

    /// The program of this name on PATH, or at this absolute path.
    pub fn on_path(name: &std::ffi::OsStr) -> Option<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        // An absolute path replaces what it is joined to.
        std::env::split_paths(&path)
            .map(|directory| directory.join(name))
            .find(|program| program.is_file())
    }
}

/// How a run of Bazel ended, and what it wrote.
#[derive(Debug)]
pub struct Run {
    /// Whether Bazel's exit code was 0.
    pub success: bool,
    /// Standard error: Bazel's progress and messages.
    pub stderr: String,
    /// Standard output, such as the result of a query.
    pub stdout: String,
    /// How long it took.
    pub wall: Duration,
    /// The spawned actions, as in the execution log.
    pub spawns: Vec<Value>,
}

impl Workspace {
    /// A copy of `e2e/cases/CASE`, in whose files each `{KEY}` is replaced by its value.
    pub fn new(case: &str, values: &[(&str, &str)]) -> Self {
        let idle = Idle::take();
        let (directory, server) = match idle {
            Some(idle) => (idle.directory, Some(idle.reaper)),
            None => (scratch(), None),
        };
        let mut workspace = Self::in_directory(directory.path(), Bazel::chosen(), case, values);
        workspace.start_quickly();
        workspace.scratch = Some(directory);
        workspace.can_be_left = true;
        if let Some(server) = server {
            workspace.reaper = server.into();
            // Bazel cleans nothing but a workspace, which some cases become later.
            let module = workspace.path("MODULE.bazel");
            if !module.exists() {
                fs::write(module, "").expect("can be written");
            }
            // What the last one built and fetched is nothing to this one.
            workspace.succeed(&["clean"]);
            empty(&workspace.external());
        }
        workspace
    }

    /// A case on the base image `library/debian` of this registry.
    pub fn on_debian(case: &str, registry: &impl Bases) -> Self {
        let image = format!("{}/library/debian", registry.host());
        let digest = registry.digest("library/debian", "stable");
        Self::new(case, &[("IMAGE", &image), ("DIGEST", &digest)])
    }

    /// A workspace with the bases `base_N` of an image, by these digests, and a layout `layout_N` on each.
    pub fn of_bases(image: &str, digests: &[String]) -> Self {
        let workspace = Self::new("demo", &[("IMAGE", ""), ("DIGEST", "")]);
        let pulls = (0..).zip(digests).map(|(n, digest)| {
            format!("oci.pull(name = \"base_{n}\", digest = \"{digest}\", image = \"{image}\")\nuse_repo(oci, \"base_{n}\")\n")
        });
        let module = "bazel_dep(name = \"oci_pull_all\", version = \"0.1.0\")\n\
                      oci = use_extension(\"@oci_pull_all//oci:extensions.bzl\", \"oci\")\n";
        let pulls: String = pulls.collect();
        fs::write(workspace.path("MODULE.bazel"), format!("{module}{pulls}"))
            .expect("can be written");
        let build = "load(\"@oci_pull_all//oci:defs.bzl\", \"oci_image_layout\")\n\
                     [oci_image_layout(name = \"layout_{}\".format(n), image = \"@base_{}\".format(n)) for n in range(BASES)]\n";
        let build = build.replace("BASES", &digests.len().to_string());
        fs::write(workspace.path("BUILD.bazel"), build).expect("can be written");
        workspace
    }

    /// A copy of this module.
    pub fn of_this_module() -> Self {
        let copy = copy_of_checkout();
        Self::new(copy.path().to_str().expect("a path in UTF-8"), &[])
    }

    fn start_quickly(&mut self) {
        self.append_rc(SHORT_LIVED);
        if matches!(self.bazel, Bazel::Debian) {
            let classes = classes();
            // Java's SHA-256 is slow where only its quick compiler runs; Bazel's BLAKE3 is native code.
            self.append_rc(&format!(
                "startup --digest_function=blake3\n\
                 startup --host_jvm_args=-XX:AOTCache={}\n\
                 startup --host_jvm_args=-XX:+UseTransparentHugePages\n",
                classes.display()
            ));
            self.shared
                .push(classes.parent().expect("a directory").to_owned());
        }
    }

    /// The case `demo`.
    pub fn demo(registry: &impl Bases) -> Self {
        Self::on_debian("demo", registry)
    }

    /// The case `layouts`, on both base images.
    pub fn layouts(registry: &impl Bases) -> Self {
        let [debian, docker_debian] = ["library/debian", "library/debian-docker"]
            .map(|repository| registry.digest(repository, "stable"));
        let values = [
            ("HOST", registry.host()),
            ("DEBIAN", &debian),
            ("DOCKER_DEBIAN", &docker_debian),
        ];
        Self::new("layouts", &values)
    }

    /// The case `scans`, with the scanners on its PATH. Where one cannot be had, the calling test is skipped.
    pub fn scans(registry: &impl Bases) -> Option<Self> {
        let mut workspace = Self::on_debian("scans", registry);
        workspace.provide(&[Peer::Syft, Peer::Trivy])?;
        Some(workspace)
    }

    /// Puts other projects' programs on Bazel's PATH. Where one cannot be had, the calling test is skipped.
    pub fn provide(&mut self, peers: &[Peer]) -> Option<()> {
        let mut path = Vec::new();
        for peer in peers {
            let program = peer.or_skip()?;
            let directory = program.parent().expect("in a directory");
            path.push(directory.display().to_string());
        }
        path.push("/usr/bin:/bin".to_owned());
        self.set_env("PATH", Some(&path.join(":")));
        Some(())
    }

    /// As [`Workspace::new`], in a directory that stays.
    pub fn in_directory(
        directory: &Path,
        bazel: Bazel,
        case: &str,
        values: &[(&str, &str)],
    ) -> Self {
        let output = directory.join("output");
        Self::make(directory, "workspace", output, bazel, case, values)
    }

    /// As [`Workspace::new`], in a directory of this name, with Bazel's output in `output`.
    pub fn placed(name: &str, output: &Path, case: &str, values: &[(&str, &str)]) -> Self {
        let scratch = scratch();
        let directory = scratch.path().to_owned();
        let output = output.to_owned();
        let mut workspace = Self::make(
            &directory,
            name,
            output.clone(),
            Bazel::chosen(),
            case,
            values,
        );
        workspace.share(&output);
        workspace.start_quickly();
        workspace.scratch = Some(scratch);
        workspace
    }

    fn make(
        directory: &Path,
        name: &str,
        output: PathBuf,
        bazel: Bazel,
        case: &str,
        values: &[(&str, &str)],
    ) -> Self {
        let source = checkout().join("e2e/cases").join(case);
        let workspace = directory.join(name);
        copy(&source, &workspace, values);
        for made in ["home", "registry", "store"] {
            fs::create_dir_all(directory.join(made)).expect("can be made");
        }
        let mut shared = vec![directory.to_owned()];
        let mut registry = PathBuf::new();
        let modules = match bazel {
            Bazel::Debian => {
                // The same for most, as a server sees what it saw when it started.
                shared.extend([in_target("e2e"), program_directory(), Peer::directory()]);
                // Bazel does not look again at what it has read of a registry.
                let made = tempfile::tempdir_in(directory.join("registry"));
                registry = made.expect("can be made").keep();
                let registry = modules::write_registry(&registry, &Root::get().path());
                format!(
                    "common --registry={registry} --noenable_workspace\nbuild --spawn_strategy=linux-sandbox"
                )
            }
            // Bazel forbids it for the module itself.
            Bazel::Users(_) if is_this_module(&workspace) => String::new(),
            Bazel::Users(_) => {
                format!(
                    "common --override_module=oci_pull_all={}",
                    checkout().display()
                )
            }
        };
        let rc = format!(
            "startup --max_idle_secs=120 --output_user_root={output}\n\
             common --noshow_progress --lockfile_mode=off --color=no --curses=no\n\
             {modules}\n\
             build --nosandbox_debug --sandbox_default_allow_network=false\n\
             build --execution_log_json_file={log}\n\
             test --test_output=errors\n",
            output = output.display(),
            log = directory.join("spawns.json").display(),
        );
        let own = fs::read_to_string(workspace.join(".bazelrc")).unwrap_or_default();
        fs::write(workspace.join(".bazelrc"), rc + &own).expect("can be written");
        let environment = BTreeMap::from([
            (
                "OCI_PULL_ALL_STORE".to_owned(),
                directory.join("store").display().to_string(),
            ),
            (
                "OCI_PULL_ALL_TOOL".to_owned(),
                program().display().to_string(),
            ),
        ]);
        Self {
            directory: directory.to_owned(),
            sources: workspace,
            output,
            registry,
            bazel,
            environment,
            shared,
            can_be_left: false,
            runner: "linux-sandbox",
            local: Vec::new(),
            turn: Mutex::new(()),
            plus: OnceLock::new(),
            info: Mutex::default(),
            reaper: OnceLock::new(),
            scratch: None,
        }
    }

    /// Sets a variable of the environment in which Bazel is called, or unsets it.
    pub fn set_env(&mut self, name: &str, value: Option<&str>) {
        self.environment.remove(name);
        if let Some(value) = value {
            self.environment.insert(name.to_owned(), value.to_owned());
        }
    }

    /// Lets Bazel see a directory, at the same path as outside. What [`scratch`] makes it sees anyway.
    pub fn share(&mut self, directory: &Path) {
        if self.reaper.get().is_some() {
            self.succeed(&["shutdown"]);
        }
        self.shared.push(directory.to_owned());
        // Its server would not let go of the directory.
        self.can_be_left = false;
    }

    /// Has all actions run by this engine from now on.
    pub fn use_remote(&mut self, engine: &RemoteExecution) {
        self.runner = "remote";
        self.hash_as_caches_do();
        self.append_rc(&format!(
            "build --remote_executor={} --remote_default_exec_properties=OSFamily=linux\n\
             build --spawn_strategy=remote\n",
            engine.address()
        ));
    }

    /// Has Bazel name what it makes by its SHA-256, as it does unless told otherwise, and as caches and engines of others do.
    pub fn hash_as_caches_do(&self) {
        self.append_rc("startup --digest_function=sha256\n");
    }

    /// Lets actions of a kind, such as `CopyFile`, run outside of the sandbox.
    pub fn run_locally(&mut self, mnemonic: &str) {
        self.append_rc(&format!("build --strategy={mnemonic}=local\n"));
        self.local.push(mnemonic.to_owned());
    }

    /// Has Bazel write `MODULE.bazel.lock`, which Debian's cannot by itself: `e2e/lock/Adapter.java` says why.
    pub fn enable_lock(&mut self) {
        if self.bazel != Bazel::Debian {
            return;
        }
        self.can_be_left = false;
        let made = self.directory.join("lock");
        let agent = made.join("agent.jar");
        fs::create_dir_all(&made).expect("can be made");
        let script = "javac -d \"$1\" -cp /usr/share/bazel/A-server.jar:/usr/share/java/gson.jar \"$0\"/Adapter.java\n\
                      jar cfm \"$1/agent.jar\" \"$0\"/MANIFEST -C \"$1\" com";
        let output = Root::get()
            .command(Life::Child, &[&self.directory], "sh")
            .args(["-euc", script])
            .args([&checkout().join("e2e/lock"), &made])
            .output()
            .expect("javac can be run");
        assert!(output.status.success(), "{output:?}");
        self.append_rc(&format!(
            "startup --host_jvm_args=-javaagent:{}\n",
            agent.display()
        ));
    }

    /// Puts buildozer where `bazel mod tidy` finds it, if it can be had.
    pub fn provide_buildozer(&mut self) -> Option<()> {
        let program = Peer::Buildozer.or_skip()?;
        self.set_env("BUILDOZER", program.to_str());
        Some(())
    }

    /// Adds lines to the `.bazelrc`.
    pub fn append_rc(&self, lines: &str) {
        let path = self.path(".bazelrc");
        let before = fs::read_to_string(&path).expect("can be read");
        fs::write(&path, before + lines).expect("can be written");
    }

    /// A path within the workspace.
    pub fn path(&self, relative: &str) -> PathBuf {
        self.sources.join(relative)
    }

    /// The directory with everything of this workspace: Bazel's output, the blob store.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The registry of modules that Debian's Bazel has.
    pub fn registry(&self) -> &Path {
        &self.registry
    }

    /// Where Bazel's external repositories are.
    pub fn external(&self) -> PathBuf {
        self.info("output_base").join("external")
    }

    /// The directory of a repository that the extension `oci` makes, if it was fetched.
    pub fn pulled(&self, name: &str) -> Option<PathBuf> {
        self.repository("oci", name)
    }

    /// The directory of a repository that an extension of this module makes, if it was fetched.
    pub fn repository(&self, extension: &str, name: &str) -> Option<PathBuf> {
        let repository = self.external().join(self.canonical(extension, name));
        repository.exists().then_some(repository)
    }

    /// The canonical name of a repository that an extension of this module makes.
    ///
    /// # Panics
    /// If the workspace does not depend on this module.
    pub fn canonical(&self, extension: &str, name: &str) -> String {
        // What stands between its parts is Bazel's affair: `~` in 7, `+` in 8.
        let plus = self.plus.get_or_init(|| {
            let names = self.succeed(&["mod", "dump_repo_mapping", ""]).stdout;
            let names: Value = serde_json::from_str(&names).expect("JSON");
            let module = names["oci_pull_all"].as_str().expect("a dependency");
            module.trim_start_matches("oci_pull_all").to_owned()
        });
        format!("oci_pull_all{plus}{plus}{extension}{plus}{name}")
    }

    /// The path of an output, without the links that Bazel makes in the workspace.
    pub fn output(&self, relative: &str) -> PathBuf {
        self.info("bazel-bin").join(relative)
    }

    /// A directory that `bazel info` names, where it is with the workspace's own options: no flag that a test gives moves it.
    pub fn info(&self, key: &'static str) -> PathBuf {
        let mut known = self.info.lock().unwrap_or_else(PoisonError::into_inner);
        let ask = || self.succeed(&["info", key]).stdout.trim_end().into();
        known.entry(key).or_insert_with(ask).clone()
    }

    /// Runs Bazel.
    pub fn bazel(&self, arguments: &[&str]) -> Run {
        self.bazel_in("", arguments)
    }

    /// Runs Bazel in a directory of the workspace.
    pub fn bazel_in(&self, directory: &str, arguments: &[&str]) -> Run {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.reaper.get_or_init(|| {
            let remove = self.scratch.as_ref().map(TempDir::path);
            Reaper::new(&self.command("", &["shutdown"]), &self.output, remove)
        });
        let log = self.directory.join("spawns.json");
        let _ = fs::remove_file(&log);
        let mut command = self.command(directory, arguments);
        let begin = Instant::now();
        let output = command.output().expect("bazel can be run");
        let wall = begin.elapsed();
        let spawns = fs::read_to_string(&log).unwrap_or_default();
        let spawns = serde_json::Deserializer::from_str(&spawns)
            .into_iter()
            .map_while(Result::ok)
            .collect();
        let run = Run::new(&output, wall, spawns);
        if matches!(self.bazel, Bazel::Debian) {
            run.check_runners(self.runner, &self.local);
        }
        run
    }

    /// Runs Bazel, which must succeed.
    pub fn succeed(&self, arguments: &[&str]) -> Run {
        let run = self.bazel(arguments);
        assert!(
            run.success,
            "bazel {}:\n{}",
            arguments.join(" "),
            run.stderr
        );
        run
    }

    /// Runs Bazel, which must fail; returns its messages.
    pub fn fail(&self, arguments: &[&str]) -> String {
        let run = self.bazel(arguments);
        assert!(
            !run.success,
            "bazel {} succeeded:\n{}",
            arguments.join(" "),
            run.stderr
        );
        run.stderr
    }

    fn command(&self, directory: &str, arguments: &[&str]) -> Command {
        match &self.bazel {
            Bazel::Debian => {
                let shared: Vec<&Path> = self.shared.iter().map(PathBuf::as_path).collect();
                // Bazel's server outlives its client.
                let mut command = Root::get().command(Life::Daemon, &shared, "env");
                command.arg(format!("--chdir={}", self.path(directory).display()));
                let home = self.directory.join("home");
                command.arg(format!("HOME={}", home.display()));
                let variables = self.environment.iter();
                command.args(variables.map(|(name, value)| format!("{name}={value}")));
                command.arg("bazel").args(arguments);
                command
            }
            Bazel::Users(program) => {
                let mut command = Command::new(program);
                command.current_dir(self.path(directory));
                command.envs(&self.environment).args(arguments);
                command.stdin(Stdio::null());
                command
            }
        }
    }
}

/// The classes of Bazel's server as Java maps them into memory, which spares each server a third of its start. They are made
/// once; Java looks whether they fit, and starts without them where they do not.
fn classes() -> &'static Path {
    static CLASSES: OnceLock<PathBuf> = OnceLock::new();
    CLASSES.get_or_init(|| {
        let classes = Root::get().class_archives().join("bazel.aot");
        if !classes.exists() {
            let directory = classes.parent().expect("a directory");
            fs::create_dir_all(directory).expect("can be made");
            let made = tempfile::tempdir_in(directory).expect("a directory");
            let archive = made.path().join("bazel.aot");
            let scratch = scratch();
            let mut workspace = Workspace::make(
                scratch.path(),
                "workspace",
                scratch.path().join("output"),
                Bazel::Debian,
                "layers",
                &[],
            );
            workspace.append_rc(SHORT_LIVED);
            workspace.append_rc(&format!(
                "startup --host_jvm_args=-XX:AOTCacheOutput={}\n",
                archive.display()
            ));
            workspace.share(made.path());
            workspace.share(scratch.path());
            workspace.succeed(&["test", "//:through_link_test"]);
            // Java writes them when the server ends.
            drop(workspace);
            fs::rename(archive, &classes).expect("Java has written it");
        }
        classes
    })
}

impl Drop for Workspace {
    fn drop(&mut self) {
        let (Some(directory), Some(reaper)) = (self.scratch.take(), self.reaper.take()) else {
            return;
        };
        // Who fails may leave anything behind.
        if self.can_be_left && !std::thread::panicking() {
            Idle { directory, reaper }.leave();
        }
    }
}

impl Run {
    fn new(output: &Output, wall: Duration, spawns: Vec<Value>) -> Self {
        Self {
            wall,
            success: output.status.success(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            spawns,
        }
    }

    /// The number of spawned actions of a kind, such as `OCILayer`.
    pub fn count(&self, mnemonic: &str) -> usize {
        self.runners(mnemonic).len()
    }

    /// How each action of a kind came by its outputs, such as `linux-sandbox` or `remote cache hit`.
    pub fn runners(&self, mnemonic: &str) -> Vec<&str> {
        self.spawns
            .iter()
            .filter(|spawn| spawn["mnemonic"] == mnemonic)
            .map(|spawn| spawn["runner"].as_str().unwrap_or_default())
            .collect()
    }

    // Where linux-sandbox does not start, Bazel takes a sandbox that does not isolate the network.
    fn check_runners(&self, expected: &str, local: &[String]) {
        for spawn in &self.spawns {
            let runner = spawn["runner"].as_str().unwrap_or_default();
            let may_be_local = local.iter().any(|mnemonic| spawn["mnemonic"] == **mnemonic);
            assert!(
                runner == expected
                    || runner.ends_with("cache hit")
                    || (runner == "local" && may_be_local),
                "an action ran under {runner:?}, not under {expected}: {}",
                spawn["progressMessage"],
            );
        }
    }
}

fn is_this_module(workspace: &Path) -> bool {
    let read = |directory: &Path| fs::read(directory.join("MODULE.bazel")).ok();
    read(workspace) == read(&checkout())
}

/// Where the program under test is, which the checkout need not hold.
fn program_directory() -> PathBuf {
    let directory = program().parent().expect("in a directory");
    directory.to_owned()
}

fn copy(from: &Path, to: &Path, values: &[(&str, &str)]) {
    fs::create_dir_all(to).unwrap_or_else(|e| panic!("{}: {e}", to.display()));
    for entry in fs::read_dir(from).unwrap_or_else(|e| panic!("{}: {e}", from.display())) {
        let entry = entry.expect("can be read");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("can be read").is_dir() {
            copy(&entry.path(), &target, values);
            continue;
        }
        let mut text = fs::read_to_string(entry.path()).expect("a case's files are text");
        for (key, value) in values {
            text = text.replace(&format!("{{{key}}}"), value);
        }
        fs::write(&target, text).expect("can be written");
        let mode = entry.metadata().expect("can be read").permissions();
        fs::set_permissions(&target, mode).expect("can be set");
    }
}
