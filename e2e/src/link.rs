//! A network link of a given speed and delay: see `e2e/link.py`.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use crate::checkout;
use crate::root::{Life, Root};

/// A running link. It ends when dropped.
#[derive(Debug)]
pub struct Link {
    _process: Forwarder,
    /// Where a registry stands.
    pub server: End,
    /// Where one pulls from it.
    pub client: End,
}

/// One end of a link: a network namespace with one address.
#[derive(Clone, Debug)]
pub struct End {
    namespace: String,
    /// The address of this end.
    pub address: String,
}

#[derive(Debug)]
struct Forwarder(Child);

impl Link {
    /// A link of so many bits a second and so many seconds to and fro, or nothing where none can be
    /// made.
    pub fn start(bits: f64, round_trip: f64) -> Option<Self> {
        let process = Root::get()
            .command(Life::Child, &[], "python3")
            .arg(checkout().join("e2e/link.py"))
            .args([bits.to_string(), round_trip.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .expect("python can be run");
        let mut process = Forwarder(process);
        let mut lines = BufReader::new(process.0.stdout.take().expect("piped")).lines();
        let mut end = || {
            let line = lines.next()?.ok()?;
            let (namespace, address) = line.split_once(' ')?;
            Some(End {
                namespace: namespace.to_owned(),
                address: address.to_owned(),
            })
        };
        let (server, client) = (end()?, end()?);
        Some(Self {
            _process: process,
            server,
            client,
        })
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl End {
    /// The same command, run at this end.
    #[must_use]
    pub fn command(&self, inner: &Command) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net={}", self.namespace))
            .arg(inner.get_program())
            .args(inner.get_args());
        command.stdin(Stdio::null());
        command
    }
}
