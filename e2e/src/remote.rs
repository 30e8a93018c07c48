//! Remote execution: `BuildGrid`, and a worker that sees nothing of the client's machine.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tempfile::TempDir;

use crate::log::Log;
use crate::root::Root;
use crate::script;

const SCHEDULER: &str = "sockets/scheduler";
const SOCKETS: &str = "/run/sockets";
const DATABASE: &str = "/run/database";
const WORKER: &str = "/run/worker";

/// A scheduler with an empty cache, and one worker. They end when dropped.
///
/// They talk through sockets in the file system, so the worker and what it runs need no network, and have
/// none. Debian's Bazel cannot use such sockets: it comes in by a port of loopback.
#[derive(Debug)]
pub struct RemoteExecution {
    // In the order in which they end.
    processes: Vec<Process>,
    door: Door,
    directory: TempDir,
}

/// A port that leads to a socket in the file system.
#[derive(Debug)]
struct Door {
    address: SocketAddr,
    incoming: Arc<AtomicU64>,
    outgoing: Arc<AtomicU64>,
}

#[derive(Debug)]
struct Process {
    process: Child,
    log: Log,
}

impl RemoteExecution {
    /// Starts an engine.
    pub fn start() -> Self {
        let directory = crate::scratch();
        for made in ["sockets", "database", "cas", "worker"] {
            fs::create_dir(directory.path().join(made)).expect("can be made");
        }
        let mut engine = Self {
            processes: Vec::new(),
            door: Door::open(&directory.path().join(SCHEDULER)),
            directory,
        };
        engine.start_database();
        engine.start_scheduler();
        engine.start_worker();
        engine
    }

    /// The value of Bazel's `--remote_executor`.
    pub fn address(&self) -> String {
        format!("grpc://{}", self.door.address)
    }

    /// How many bytes clients have sent until now.
    pub fn uploaded(&self) -> u64 {
        self.door.incoming.load(Ordering::Relaxed)
    }

    /// How many bytes clients have been sent until now.
    pub fn downloaded(&self) -> u64 {
        self.door.outgoing.load(Ordering::Relaxed)
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.directory.path().join(relative)
    }

    fn run(&mut self, command: &mut Command) -> &mut Process {
        self.processes.insert(0, Process::start(command));
        &mut self.processes[0]
    }

    fn start_database(&mut self) {
        let programs = fs::read_dir(Root::get().path().join("usr/lib/postgresql"))
            .expect("PostgreSQL is in the root")
            .map(|version| version.expect("can be read").file_name())
            .next()
            .expect("one version");
        let programs = Path::new("/usr/lib/postgresql").join(programs).join("bin");
        let (sockets, database) = (self.path("sockets"), self.path("database"));
        // PostgreSQL refuses to run as root, and takes only a user who has a name: nobody.
        let command = |program: &str| {
            let mut command = Root::get().isolated(&[(&sockets, SOCKETS), (&database, DATABASE)]);
            command.args(["--unshare-user", "--uid", "65534", "--gid", "65534", "--"]);
            command.arg(programs.join(program));
            command.args(["-D", &format!("{DATABASE}/data")]);
            command
        };
        succeed(command("initdb").args(["--no-sync", "--auth=trust", "--username=buildgrid"]));
        self.run(
            command("postgres")
                .args(["-c", "listen_addresses=", "-c", "fsync=off", "-c"])
                .arg(format!("unix_socket_directories={SOCKETS}")),
        )
        .log
        .wait_for("ready to accept connections");
    }

    fn start_scheduler(&mut self) {
        let connection = format!(
            "postgresql+psycopg2://buildgrid@/postgres?host={}",
            self.path("sockets").display()
        );
        let directory = self.directory.path().to_owned();
        let configuration = directory.join("scheduler.yml");
        let text = CONFIGURATION
            .replace("ADDRESS", &self.path(SCHEDULER).display().to_string())
            .replace("CONNECTION", &connection)
            .replace("STORAGE", &self.path("cas").display().to_string());
        fs::write(&configuration, text).expect("can be written");

        let packages = succeed(&mut script("e2e/buildgrid"));
        let command = || {
            let mut command = Command::new("bwrap");
            command.args(["--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"]);
            command.arg("--bind").arg(&directory).arg(&directory);
            command.args(["--unshare-pid", "--unshare-net", "--die-with-parent"]);
            command.args(["--setenv", "PYTHONPATH", &packages]);
            command.args(["--setenv", "TMPDIR"]).arg(&directory);
            command.args([
                "python3",
                "-c",
                "from buildgrid.server.app import cli; cli()",
            ]);
            command.stdin(Stdio::null());
            command
        };
        succeed(command().args(["migrate", "apply", &connection]));
        let socket = self.path(SCHEDULER);
        let process = self.run(command().args(["server", "start"]).arg(&configuration));
        process.wait_for_socket(&socket);
    }

    fn start_worker(&mut self) {
        let (sockets, worker) = (self.path("sockets"), self.path("worker"));
        let command = |program: &str| {
            let mut command = Root::get().isolated(&[(&sockets, SOCKETS), (&worker, WORKER)]);
            command.args(["--", program, "--log-level=info"]);
            command
        };
        let scheduler = format!("unix:{SOCKETS}/scheduler");
        let storage = format!("unix:{SOCKETS}/storage");
        self.run(
            command("buildbox-casd")
                .arg(format!("--cas-remote={scheduler}"))
                .arg(format!("--bind={storage}"))
                .arg(format!("{WORKER}/cas")),
        )
        .log
        .wait_for("Server listening");
        self.run(
            command("buildbox-worker")
                .arg(format!("--bots-remote={scheduler}"))
                .arg(format!("--cas-remote={storage}"))
                .args([
                    "--buildbox-run=/usr/bin/buildbox-run-hosttools",
                    "--runner-arg=--staging-mode=copy-or-link",
                    "--instance=",
                ])
                .args(["--platform", "OSFamily=linux", "--concurrent-jobs=2"]),
        )
        .log
        .wait_for("Starting buildbox-worker");
    }
}

impl Door {
    fn open(socket: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let door = Self {
            address: listener.local_addr().expect("bound"),
            incoming: Arc::default(),
            outgoing: Arc::default(),
        };
        let (incoming, outgoing) = (Arc::clone(&door.incoming), Arc::clone(&door.outgoing));
        let socket = socket.to_owned();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                // Where nobody is behind the door, the client is hung up on.
                let Ok(server) = UnixStream::connect(&socket) else {
                    continue;
                };
                let client = Arc::new(client);
                let server = Arc::new(server);
                let (to, from) = (Arc::clone(&server), Arc::clone(&client));
                let counter = Arc::clone(&incoming);
                std::thread::spawn(move || {
                    let _ = count(&*from, &*to, &counter);
                    let _ = to.shutdown(Shutdown::Write);
                });
                let counter = Arc::clone(&outgoing);
                std::thread::spawn(move || {
                    let _ = count(&*server, &*client, &counter);
                    let _ = client.shutdown(Shutdown::Both);
                });
            }
        });
        door
    }
}

/// Copies all bytes, and counts each before it is there.
fn count(mut from: impl Read, mut to: impl Write, counter: &AtomicU64) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let length = from.read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        counter.fetch_add(length as u64, Ordering::Relaxed);
        to.write_all(&buffer[..length])?;
    }
}

impl Process {
    fn start(command: &mut Command) -> Self {
        let mut process = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("bwrap can be run");
        let log = Log::of(&mut process);
        Self { process, log }
    }

    fn wait_for_socket(&mut self, socket: &Path) {
        while let Err(error) = UnixStream::connect(socket) {
            let ended = self.process.try_wait().expect("can be asked");
            // A socket's path is at most 107 bytes long.
            let hopeless = error.kind() == io::ErrorKind::InvalidInput;
            assert!(
                ended.is_none() && !hopeless,
                "{}: {error} ({ended:?})",
                socket.display()
            );
            std::thread::yield_now();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // bwrap takes its children with it.
        let _ = self.process.kill();
        let _ = self.process.wait();
        self.log.wait_for_end();
        if std::thread::panicking() {
            let lines = self.log.seen();
            eprintln!("{}", lines[lines.len().saturating_sub(20)..].join("\n"));
        }
    }
}

fn succeed(command: &mut Command) -> String {
    let output = command.output().expect("can be run");
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout)
        .trim_end()
        .to_owned()
}

const CONFIGURATION: &str = "
server:
  - !channel
    address: unix:ADDRESS
    insecure-mode: true
thread-pool-size: 64
authorization:
  method: none
connections:
  - !sql-connection &sql
    connection-string: CONNECTION
storages:
  - !disk-storage &cas
    path: STORAGE
caches:
  - !lru-action-cache &actions
    storage: *cas
    max-cached-refs: 4096
    allow-updates: true
schedulers:
  - !sql-scheduler &scheduler
    sql: *sql
    storage: *cas
    action-cache: *actions
    property-set: !dynamic-property-set
      match-property-keys: [OSFamily]
    poll-interval: 0.1
    bot-poll-interval: 0.1
    assigners:
      - !priority-age-assigner
        interval: 0.1
instances:
  - name: ''
    services:
      - !action-cache
        cache: *actions
      - !execution
        scheduler: *scheduler
      - !cas
        storage: *cas
      - !bytestream
        storage: *cas
";
