//! A person who runs the program.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

/// A user of the command, with a home and a store of their own.
#[derive(Debug)]
pub struct User {
    program: PathBuf,
    home: TempDir,
}

/// Where Linux has files in memory, and how many bytes must be free there.
const MEMORY: (&str, u64) = ("/dev/shm", 4 << 30);

/// A directory for a test: in memory where there is room, because some kernels take long to make a file soon after many were
/// removed.
fn scratch() -> io::Result<TempDir> {
    let (memory, wanted) = MEMORY;
    let is_room = rustix::fs::statvfs(memory)
        .is_ok_and(|room| room.f_bavail.saturating_mul(room.f_frsize) >= wanted);
    let in_memory = is_room.then(|| tempfile::tempdir_in(memory));
    match in_memory {
        Some(Ok(directory)) => Ok(directory),
        _ => tempfile::tempdir(),
    }
}

/// How a command ended, and what it wrote.
#[derive(Debug)]
pub struct Ran {
    /// Whether the exit code was 0.
    pub success: bool,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl User {
    /// A new user of this program, who has nothing.
    ///
    /// # Panics
    /// If there is no room for a home.
    pub fn of(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            home: scratch().expect("a home can be made"),
        }
    }

    /// The program.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// The user's home.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// A path below the home.
    pub fn path(&self, relative: &str) -> PathBuf {
        self.home.path().join(relative)
    }

    /// Writes a program into the home, which runs this script by `sh`; returns its path.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn write_script(&self, name: &str, script: &str) -> PathBuf {
        let path = self.path(name);
        // Another process writes it. What this one has open, those have open that another test forks meanwhile, and the
        // kernel runs no file that somebody may write.
        let mut writer = Command::new("install")
            .args(["-m", "755", "/dev/stdin"])
            .arg(&path)
            .stdin(Stdio::piped())
            .spawn()
            .expect("install can be run");
        let mut text = writer.stdin.take().expect("piped");
        write!(text, "#!/bin/sh\n{script}\n").expect("it reads");
        drop(text);
        assert!(writer.wait().expect("it ends").success());
        path
    }

    /// Runs the program in the home with an environment that holds nothing but `HOME`.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(&[], arguments)
    }

    /// As [`User::run`], with more variables.
    pub fn run_with(&self, environment: &[(&str, &str)], arguments: &[&str]) -> Ran {
        let output = self
            .command(Command::new(&self.program), environment, arguments)
            .output()
            .expect("can be run");
        Ran::new(&output)
    }

    /// As [`User::run_with`], by another command to which the program and its arguments are given.
    pub fn run_by(&self, mut command: Command, arguments: &[&str]) -> Ran {
        command.arg(&self.program);
        let output = self
            .command(command, &[("PATH", "/usr/bin:/bin")], arguments)
            .output();
        Ran::new(&output.expect("can be run"))
    }

    /// Starts the program and lets it run.
    pub fn spawn(&self, arguments: &[&str]) -> Child {
        self.command(Command::new(&self.program), &[], arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("can be run")
    }

    /// As [`User::spawn`], with its standard error to be read.
    pub fn spawn_heard(&self, arguments: &[&str]) -> Child {
        self.command(Command::new(&self.program), &[], arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("can be run")
    }

    fn command(
        &self,
        mut command: Command,
        environment: &[(&str, &str)],
        arguments: &[&str],
    ) -> Command {
        command
            .env_clear()
            .env("HOME", self.home.path())
            .envs(environment.iter().copied())
            .current_dir(self.home.path())
            .args(arguments);
        command
    }

    /// Has the program verify a layout.
    ///
    /// # Panics
    /// If it finds something wrong.
    pub fn verify(&self, layout: &Path) {
        let layout = layout.to_str().expect("a path in UTF-8");
        self.run(&["verify", layout]).succeeded();
    }

    /// The directory of the store.
    pub fn store(&self) -> PathBuf {
        PathBuf::from(self.run(&["store", "path"]).succeeded().stdout.trim_end())
    }
}

impl Ran {
    fn new(output: &Output) -> Self {
        Self {
            success: output.status.success(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Itself, if the command succeeded.
    #[allow(clippy::return_self_not_must_use)]
    pub fn succeeded(self) -> Self {
        assert!(self.success, "{}", self.stderr);
        self
    }

    /// Checks that the command failed, with messages that hold these texts.
    pub fn failed(self, expected: &[&str]) {
        assert!(!self.success, "it succeeded: {}", self.stdout);
        for text in expected {
            assert!(
                self.stderr.contains(text),
                "no {text:?} in:\n{}",
                self.stderr
            );
        }
    }
}

/// The names under `blobs/sha256`, each of which must be the digest of its content.
pub fn blobs(layout: &Path) -> Vec<String> {
    let entries = fs::read_dir(layout.join("blobs/sha256")).expect("a layout has blobs");
    let mut names: Vec<_> = entries
        .map(|entry| {
            let entry = entry.expect("can be read");
            let name = entry.file_name().into_string().expect("hex");
            let data = fs::read(entry.path()).expect("can be read");
            assert_eq!(hex::encode(Sha256::digest(&data)), name);
            name
        })
        .collect();
    names.sort();
    names
}

/// The digest in what a push prints, `REPOSITORY@DIGEST`.
///
/// # Panics
/// If that is not what it prints.
pub fn pushed<'a>(stdout: &'a str, repository: &str) -> &'a str {
    let digest = stdout.trim().strip_prefix(repository);
    digest
        .and_then(|digest| digest.strip_prefix('@'))
        .unwrap_or_else(|| panic!("not {repository}@…: {stdout}"))
}
