//! Servers that are told their port.

use std::net::{TcpListener, TcpStream};
use std::process::Child;

/// How often another port is tried.
const TRIES: usize = 10;

/// Starts a server that is told its `127.0.0.1:PORT`, and waits until it listens there. It is started again if it ends before,
/// as it does where another process takes the port first; nothing if it always does.
pub(crate) fn listening(mut start: impl FnMut(&str) -> Child) -> Option<(Child, String)> {
    for _ in 0..TRIES {
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a free port")
            .port();
        let host = format!("127.0.0.1:{port}");
        let mut process = start(&host);
        while process.try_wait().expect("can be asked").is_none() {
            if TcpStream::connect(&host).is_ok() {
                return Some((process, host));
            }
            std::thread::yield_now();
        }
    }
    None
}
