//! A proxy for HTTPS, for which every name is this machine.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
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

    /// What `HTTPS_PROXY` takes to reach it by SOCKS 5, which it speaks as well.
    pub fn socks_url(&self) -> String {
        format!("socks5h://{}", self.address)
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
    if reader.fill_buf()?.first() == Some(&SOCKS) {
        return tunnel_by_socks(reader, client, seen);
    }
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
    pass(
        reader,
        client,
        &target,
        b"HTTP/1.1 200 Connection established\r\n\r\n",
    )
}

/// The version of SOCKS (RFC 1928).
const SOCKS: u8 = 5;

fn tunnel_by_socks(
    mut reader: BufReader<TcpStream>,
    mut client: TcpStream,
    seen: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut greeting = [0; 2];
    reader.read_exact(&mut greeting)?;
    let mut methods = vec![0; usize::from(greeting[1])];
    reader.read_exact(&mut methods)?;
    client.write_all(&[SOCKS, 0])?;
    // Only names are asked for.
    let mut head = [0; 5];
    reader.read_exact(&mut head)?;
    let mut name = vec![0; usize::from(head[4])];
    reader.read_exact(&mut name)?;
    let mut port = [0; 2];
    reader.read_exact(&mut port)?;
    let (name, port) = (String::from_utf8_lossy(&name), u16::from_be_bytes(port));
    let target = format!("{name}:{port}");
    seen.lock()
        .expect("no thread panicked")
        .push(target.clone());
    pass(reader, client, &target, &[SOCKS, 0, 0, 1, 0, 0, 0, 0, 0, 0])
}

/// Says that there is a tunnel, and passes on what goes through it.
fn pass(
    mut reader: BufReader<TcpStream>,
    mut client: TcpStream,
    target: &str,
    answer: &[u8],
) -> std::io::Result<()> {
    let port = target.rsplit(':').next().unwrap_or_default();
    let server = TcpStream::connect(format!("127.0.0.1:{port}"))?;
    client.write_all(answer)?;
    let (mut from_server, mut to_client) = (server.try_clone()?, client);
    std::thread::spawn(move || std::io::copy(&mut from_server, &mut to_client));
    std::io::copy(&mut reader, &mut &server)?;
    server.shutdown(std::net::Shutdown::Write)
}
