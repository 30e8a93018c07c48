//! Measures pulls beside those of other people's tools, merges beside other ways to make a layout, and scans beside a scanner
//! that is called by hand, in one run, and prints Markdown tables.
//!
//! usage: bench [--rounds N] [--before PROGRAM] [MEASUREMENT]…
//!
//! PROGRAM is this one as another commit built it, which then pulls among the others.
//!
//! In each round every tool pulls once, one after the other, into a directory of its own that was not
//! there before; the first round does not count. A ratio is that of two pulls of the same round.

#![forbid(unsafe_code)]
#![allow(clippy::cast_precision_loss, reason = "figures for people")]

mod merge;
mod scans;

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use oci_pull_all_e2e::docker_registry::DockerRegistry;
use oci_pull_all_e2e::link::{End, Link};
use oci_pull_all_e2e::nginx::Nginx;
use oci_pull_all_e2e::root::{Life, Root};
use oci_pull_all_e2e::storage::{Fill, Storage};
use oci_pull_all_e2e::{in_target, make_removable, program};
use oci_pull_all_support::text;
use sha2::{Digest as _, Sha256};
use wait4::Wait4 as _;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// What the limiting registry gives each connection, in bytes a second.
const LIMIT: u64 = 64 * MIB;
const LINK_BITS: f64 = 100e6;
const LINK_ROUND_TRIP: f64 = 0.04;

type Measurement = (&'static str, fn(&Bench));
const MEASUREMENTS: [Measurement; 10] = [
    ("floors", Bench::floors),
    ("layers", Bench::layers),
    ("one-layer", Bench::one_layer),
    ("many-layers", Bench::many_layers),
    ("limited", Bench::limited),
    ("link", Bench::link),
    ("warm", Bench::warm),
    ("merge", Bench::merge),
    ("scans", Bench::scans),
    ("huge", Bench::huge),
];

fn main() {
    let mut rounds = 5;
    let mut before = None;
    let mut wanted = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--rounds" {
            let value = arguments.next().and_then(|value| value.parse().ok());
            rounds = value
                .filter(|rounds| *rounds > 0)
                .unwrap_or_else(|| usage());
        } else if argument == "--before" {
            before = Some(arguments.next().unwrap_or_else(|| usage()));
        } else if MEASUREMENTS.iter().any(|(name, _)| *name == argument) {
            wanted.push(argument);
        } else {
            usage();
        }
    }
    let bench = Bench::new(rounds, before.as_deref().map(Path::new));
    println!("{}\n", machine());
    for (name, measure) in MEASUREMENTS {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            measure(&bench);
        }
    }
    bench.clean();
}

fn usage() -> ! {
    let names: Vec<_> = MEASUREMENTS.iter().map(|(name, _)| *name).collect();
    eprintln!(
        "usage: e2e/bench [--rounds N] [--before PROGRAM] [MEASUREMENT]…\nmeasurements: {}",
        names.join(", ")
    );
    std::process::exit(2)
}

/// Who pulls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tool {
    Ours,
    Before,
    Crane,
    Oras,
    Skopeo,
}

impl Tool {
    const PEERS: [Tool; 3] = [Tool::Crane, Tool::Oras, Tool::Skopeo];

    fn name(self) -> &'static str {
        match self {
            Tool::Ours => "oci-pull-all",
            Tool::Before => "before",
            Tool::Crane => "crane",
            Tool::Oras => "oras",
            Tool::Skopeo => "skopeo",
        }
    }

    fn is_installed(self) -> bool {
        let programs = Root::get().path().join("usr/bin");
        programs.join(self.name()).exists()
    }
}

/// What a process cost.
#[derive(Clone, Copy, Debug)]
struct Cost {
    wall: Duration,
    cpu: Duration,
    /// The largest resident set, in bytes.
    memory: u64,
}

struct Bench {
    rounds: usize,
    tools: Vec<Tool>,
    directory: PathBuf,
}

impl Bench {
    fn new(rounds: usize, before: Option<&Path>) -> Self {
        let directory = in_target("bench");
        let (peers, absent): (Vec<_>, Vec<_>) = Tool::PEERS
            .into_iter()
            .partition(|tool| tool.is_installed());
        let mut tools = vec![Tool::Ours];
        if let Some(before) = before {
            fs::copy(before, directory.join(Tool::Before.name())).expect("the program can be read");
            tools.push(Tool::Before);
        }
        tools.extend(peers);
        for tool in absent {
            println!("{} is not installed and left out.", tool.name());
        }
        Self {
            rounds,
            tools,
            directory,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn clean(&self) {
        make_removable(&self.path("merge"));
        for name in ["out", "store", "file", "storage", "merge"] {
            remove(&self.path(name));
        }
    }

    /// A registry's storage with one image of these layers, and the image's repository and digest.
    fn image(&self, layers: &[u64], fill: Fill) -> (PathBuf, String) {
        self.clean();
        let storage = self.path("storage");
        let digest = Storage::new(&storage).add_image("bench", layers, fill);
        (storage, format!("bench@{digest}"))
    }

    /// A pull of `image` from `host` by `tool`, as it was first.
    fn pull(&self, tool: Tool, host: &str, image: &str, end: Option<&End>) -> Cost {
        remove(&self.path("out"));
        remove(&self.path("store"));
        self.run(tool, host, image, end)
    }

    fn run(&self, tool: Tool, host: &str, image: &str, end: Option<&End>) -> Cost {
        let reference = format!("{host}/{image}");
        let out = self.path("out").display().to_string();
        let tagged = format!("{out}:latest");
        let (docker, oci) = (format!("docker://{reference}"), format!("oci:{tagged}"));
        let store = self.path("store").display().to_string();
        let arguments: &[&str] = match tool {
            Tool::Ours | Tool::Before => &[
                "pull",
                &reference,
                "--plain-http",
                host,
                "--output",
                &out,
                "--store",
                &store,
                "--progress",
                "none",
            ],
            Tool::Crane => &["pull", "--format", "oci", "--insecure", &reference, &out],
            Tool::Oras => &[
                "copy",
                "--from-plain-http",
                "--to-oci-layout",
                &reference,
                &tagged,
            ],
            Tool::Skopeo => &["copy", "-q", "--src-tls-verify=false", &docker, &oci],
        };
        let program = match tool {
            Tool::Ours => program().to_owned(),
            Tool::Before => self.path(tool.name()),
            _ => tool.name().into(),
        };
        let mut command = Root::get().command(Life::Child, &[&self.directory], program);
        command.args(arguments);
        if let Some(end) = end {
            command = end.command(&command);
        }
        cost(command)
    }

    /// Has every tool pull `image` in every round, and prints a table of what that cost.
    fn compare(&self, host: &str, image: &str, rounds: usize, end: Option<&End>) -> Vec<Cost> {
        let mut costs: Vec<Vec<Cost>> = vec![Vec::new(); self.tools.len()];
        for round in 0..=rounds {
            for (tool, costs) in self.tools.iter().zip(&mut costs) {
                let cost = self.pull(*tool, host, image, end);
                if round > 0 {
                    costs.push(cost);
                }
            }
        }
        println!("| | wall, s | CPU, s | memory, MiB | oci-pull-all's wall / its | CPU / its |");
        println!("|---|---|---|---|---|---|");
        for (tool, theirs) in self.tools.iter().zip(&costs) {
            let ratio = |of: fn(&Cost) -> Duration| {
                let pairs = costs[0].iter().zip(theirs);
                Spread::of(pairs.map(|(ours, theirs)| of(ours).div_duration_f64(of(theirs))))
            };
            println!(
                "| {} | {} | {} | {:.0} | {} | {} |",
                tool.name(),
                Spread::of(theirs.iter().map(|cost| cost.wall.as_secs_f64())),
                Spread::of(theirs.iter().map(|cost| cost.cpu.as_secs_f64())),
                Spread::of(theirs.iter().map(|cost| mebibytes(cost.memory))).median,
                ratio(|cost| cost.wall),
                ratio(|cost| cost.cpu),
            );
        }
        println!();
        costs.swap_remove(0)
    }

    fn floors(&self) {
        println!("## What a machine needs for 1 GiB, at least\n");
        let (storage, image) = self.image(&[GIB], Fill::Noise);
        let registry = DockerRegistry::with_storage(&storage);
        let rounds = |work: &dyn Fn()| {
            let times: Vec<_> = (0..=self.rounds)
                .map(|_| {
                    let begin = Instant::now();
                    work();
                    begin.elapsed().as_secs_f64()
                })
                .collect();
            Spread::of(times[1..].iter().copied())
        };
        let block = vec![7_u8; 1 << 20];
        let hash = || {
            let mut hasher = Sha256::new();
            (0..GIB / MIB).for_each(|_| hasher.update(&block));
            assert_ne!(hasher.finalize()[..4], [0; 4]);
        };
        let write = |durable: bool| {
            let path = self.path("file");
            remove(&path);
            let mut file = File::create(&path).expect("can be made");
            (0..GIB / MIB).for_each(|_| file.write_all(&block).expect("the disk has room"));
            if durable {
                file.sync_data().expect("the disk works");
            }
        };
        println!("| | wall, s |");
        println!("|---|---|");
        println!("| SHA-256, one core | {} |", rounds(&hash));
        println!("| writing a file | {} |", rounds(&|| write(false)));
        println!("| writing a file, durably | {} |", rounds(&|| write(true)));
        let get = || discard_layer(&registry, &image);
        println!(
            "| getting it from the registry and throwing it away | {} |",
            rounds(&get)
        );
        println!();
    }

    fn layers(&self) {
        println!("## 1 GiB in 9 layers, from docker-registry on loopback\n");
        let sizes: Vec<_> = (0..9).map(|n| GIB / 9 + n).collect();
        let (storage, image) = self.image(&sizes, Fill::Noise);
        let registry = DockerRegistry::with_storage(&storage);
        let ours = self.compare(registry.host(), &image, self.rounds, None);
        let durably: Vec<_> = ours
            .iter()
            .map(|_| {
                let pull = self.pull(Tool::Ours, registry.host(), &image, None);
                let begin = Instant::now();
                sync_all(&self.path("store/blobs/sha256"));
                (pull.wall + begin.elapsed()).div_duration_f64(pull.wall)
            })
            .collect();
        println!(
            "With every blob made durable afterwards, the same pull takes {} times as long.\n",
            Spread::of(durably.into_iter())
        );
    }

    fn one_layer(&self) {
        println!("## 1 GiB in one layer, from docker-registry on loopback\n");
        let (storage, image) = self.image(&[GIB], Fill::Noise);
        let registry = DockerRegistry::with_storage(&storage);
        self.compare(registry.host(), &image, self.rounds, None);
    }

    fn many_layers(&self) {
        println!("## 300 MiB in 300 layers, from docker-registry on loopback\n");
        let sizes: Vec<_> = (0..300).map(|n| MIB + n).collect();
        let (storage, image) = self.image(&sizes, Fill::Noise);
        let registry = DockerRegistry::with_storage(&storage);
        self.compare(registry.host(), &image, self.rounds, None);
    }

    fn limited(&self) {
        println!(
            "## 512 MiB in one layer, from docker-registry behind nginx with {} MiB/s for each connection\n",
            LIMIT / MIB
        );
        let (storage, image) = self.image(&[512 * MIB], Fill::Noise);
        let registry = DockerRegistry::with_storage(&storage);
        let nginx = Nginx::limiting(registry.host(), LIMIT);
        self.compare(nginx.host(), &image, self.rounds.min(3), None);
    }

    fn link(&self) {
        println!(
            "## 128 MiB in 9 layers over a link of {:.0} Mbit/s with {:.0} ms to and fro\n",
            LINK_BITS / 1e6,
            LINK_ROUND_TRIP * 1e3
        );
        let Some(link) = Link::start(LINK_BITS, LINK_ROUND_TRIP) else {
            println!("Left out: no link can be made here.\n");
            return;
        };
        let layers = [14 * MIB + 200_000; 9];
        let total: u64 = layers.iter().sum();
        let (storage, image) = self.image(&layers, Fill::Noise);
        let registry = DockerRegistry::at(&link.server, &storage);
        let rounds = self.rounds.min(3);
        let ours = self.compare(registry.host(), &image, rounds, Some(&link.client));
        let share = ours
            .iter()
            .map(|cost| total as f64 * 8.0 / cost.wall.as_secs_f64() / LINK_BITS * 100.0);
        println!(
            "The layers' bytes took {} % of the link; TCP's headers leave 96.5 % for them at most.\n",
            Spread::of(share)
        );
    }

    fn warm(&self) {
        println!("## 1 GiB in 9 layers that the store has\n");
        let sizes: Vec<_> = (0..9).map(|n| GIB / 9 + n).collect();
        let (storage, image) = self.image(&sizes, Fill::Noise);
        let registry = DockerRegistry::with_storage(&storage);
        self.pull(Tool::Ours, registry.host(), &image, None);
        let costs: Vec<_> = (0..=self.rounds)
            .map(|_| {
                remove(&self.path("out"));
                self.run(Tool::Ours, registry.host(), &image, None)
            })
            .skip(1)
            .collect();
        println!("| wall, ms | CPU, ms | memory, MiB |");
        println!("|---|---|---|");
        println!(
            "| {} | {} | {} |\n",
            Spread::of(costs.iter().map(|cost| cost.wall.as_secs_f64() * 1e3)),
            Spread::of(costs.iter().map(|cost| cost.cpu.as_secs_f64() * 1e3)),
            Spread::of(costs.iter().map(|cost| mebibytes(cost.memory))),
        );
    }

    fn huge(&self) {
        println!("## 10 GiB in one layer, from docker-registry on loopback\n");
        let (storage, image) = self.image(&[10 * GIB], Fill::Zeros);
        let registry = DockerRegistry::with_storage(&storage);
        // The first to read it would pay for bringing it into the page cache.
        discard_layer(&registry, &image);
        println!("| | wall, s | CPU, s | memory, MiB |");
        println!("|---|---|---|---|");
        for tool in &self.tools {
            let cost = self.pull(*tool, registry.host(), &image, None);
            println!(
                "| {} | {:.2} | {:.2} | {:.0} |",
                tool.name(),
                cost.wall.as_secs_f64(),
                cost.cpu.as_secs_f64(),
                mebibytes(cost.memory)
            );
        }
        println!();
    }
}

/// The median of some figures, with the smallest and the largest.
struct Spread {
    least: f64,
    median: f64,
    most: f64,
}

impl Spread {
    fn of(figures: impl Iterator<Item = f64>) -> Self {
        let mut figures: Vec<_> = figures.collect();
        figures.sort_by(f64::total_cmp);
        Self {
            least: figures[0],
            median: figures[figures.len() / 2],
            most: figures[figures.len() - 1],
        }
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.2} ({:.2}–{:.2})", self.median, self.least, self.most)
    }
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / MIB as f64
}

fn cost(mut command: Command) -> Cost {
    // What others left to be written must not be charged to this one.
    run(Command::new("sync"));
    let begin = Instant::now();
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("can be run");
    let mut errors = String::new();
    let _ = child
        .stderr
        .take()
        .expect("piped")
        .read_to_string(&mut errors);
    let used = child.wait4().expect("can be waited for");
    let wall = begin.elapsed();
    assert!(used.status.success(), "{command:?}: {errors}");
    Cost {
        wall,
        cpu: used.rusage.utime + used.rusage.stime,
        memory: used.rusage.maxrss,
    }
}

fn run(mut command: Command) {
    let status = command.status().expect("can be run");
    assert!(status.success(), "{command:?}");
}

fn remove(path: &Path) {
    let mut command = Command::new("rm");
    command.arg("-rf").arg(path);
    run(command);
}

/// Makes every file of a directory durable.
fn sync_all(directory: &Path) {
    for entry in fs::read_dir(directory).expect("there") {
        let path = entry.expect("can be read").path();
        let file = File::open(path).expect("can be read");
        file.sync_data().expect("the disk works");
    }
}

/// Gets the first layer of `image` (`REPOSITORY@DIGEST`) and keeps nothing of it.
fn discard_layer(registry: &DockerRegistry, image: &str) {
    let (repository, digest) = image.split_once('@').expect("made with a digest");
    let layer = &registry.manifest(digest)["layers"][0]["digest"];
    let path = format!("/v2/{repository}/blobs/{}", text(layer));
    let host = registry.host();
    let mut stream = TcpStream::connect(host).expect("the registry listens");
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n").expect("the registry listens");
    let mut buffer = vec![0; 256 * 1024];
    while stream.read(&mut buffer).expect("the registry answers") > 0 {}
}

/// A line about this machine.
fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let (cpus, memory) = (read("/proc/cpuinfo"), read("/proc/meminfo"));
    let field = |text: &str, name: &str| {
        text.lines()
            .find_map(|line| {
                line.strip_prefix(name)?
                    .split_once(':')
                    .map(|(_, v)| v.trim().to_owned())
            })
            .unwrap_or_else(|| "unknown".to_owned())
    };
    let packages = Command::new("dpkg-query")
        .arg(format!(
            "--admindir={}",
            Root::get().path().join("var/lib/dpkg").display()
        ))
        .args(["--show", "--showformat=${Package} ${Version}\n"])
        .args(["crane", "oras", "skopeo", "docker-registry", "nginx"])
        .output()
        .expect("dpkg-query can be run");
    let packages = String::from_utf8_lossy(&packages.stdout);
    format!(
        "{} cores ({}), memory {}, Linux {}; {}.",
        std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
        field(&cpus, "model name"),
        field(&memory, "MemTotal"),
        read("/proc/sys/kernel/osrelease").trim(),
        packages.lines().collect::<Vec<_>>().join(", "),
    )
}
