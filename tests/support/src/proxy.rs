//! A proxy for HTTPS, for which every name is this machine.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A proxy that lives as long as the test's process.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    targets: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// A running proxy.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let targets = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&targets);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let seen = Arc::clone(&seen);
                std::thread::spawn(move || {
                    // Either side may hang up at any time.
                    let _ = tunnel(stream, &seen);
                });
            }
        });
        Self { address, targets }
    }

    /// What `HTTPS_PROXY` takes.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The `HOST:PORT` of each tunnel that was asked for.
    pub fn targets(&self) -> Vec<String> {
        self.targets.lock().expect("no thread panicked").clone()
    }
}

fn tunnel(client: TcpStream, seen: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let target = request
        .split_whitespace()
        .nth(1)
        .unwrap_or_default()
        .to_owned();
    let mut header = String::new();
    while reader.read_line(&mut header)? > "\r\n".len() {
        header.clear();
    }
    seen.lock()
        .expect("no thread panicked")
        .push(target.clone());
    let port = target.rsplit(':').next().unwrap_or_default();
    let server = TcpStream::connect(format!("127.0.0.1:{port}"))?;
    let mut client = client;
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    let (mut from_server, mut to_client) = (server.try_clone()?, client);
    std::thread::spawn(move || std::io::copy(&mut from_server, &mut to_client));
    std::io::copy(&mut reader, &mut &server)?;
    server.shutdown(std::net::Shutdown::Write)
}
