//! A connection that breaks on its way to a server.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// Passes on what clients and a server say, until it breaks one connection. It lives as long as the test's
/// process.
#[derive(Debug)]
pub struct Cutting {
    address: SocketAddr,
    count: Arc<Mutex<Count>>,
}

#[derive(Debug)]
struct Count {
    /// Bytes that clients sent since the first of them said the words waited for.
    passed: Option<u64>,
    cut: u64,
}

impl Cutting {
    /// In front of `upstream` (`HOST:PORT`): the connection by which a client first says `words`, in one
    /// write, breaks when `cut` bytes have passed, with these.
    pub fn before(upstream: &str, words: &str, cut: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let count = Arc::new(Mutex::new(Count { passed: None, cut }));
        let (upstream, words) = (upstream.to_owned(), words.to_owned());
        let shared = Arc::clone(&count);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let server = TcpStream::connect(&upstream).expect("the server listens");
                let (words, count) = (words.clone(), Arc::clone(&shared));
                std::thread::spawn(move || {
                    // Either side may hang up at any time.
                    let _ = pass(&client, &server, words.as_bytes(), &count);
                    let _ = server.shutdown(Shutdown::Both);
                    let _ = client.shutdown(Shutdown::Both);
                });
            }
        });
        Self { address, count }
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// How many bytes clients sent since the first of them said the words.
    pub fn passed(&self) -> u64 {
        let count = self.count.lock().expect("no thread panicked");
        count.passed.unwrap_or(0)
    }
}

/// Passes on what the client says, until one of them ends it or the connection is to break.
fn pass(
    client: &TcpStream,
    server: &TcpStream,
    words: &[u8],
    count: &Mutex<Count>,
) -> std::io::Result<()> {
    let (mut from_server, mut to_client) = (server.try_clone()?, client.try_clone()?);
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from_server, &mut to_client);
        let _ = to_client.shutdown(Shutdown::Both);
    });
    let (mut client, mut server) = (client, server);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = client.read(&mut buffer)?;
        let bytes = &buffer[..length];
        if bytes.is_empty() {
            return Ok(());
        }
        let left = {
            let mut count = count.lock().expect("no thread panicked");
            let said = bytes.windows(words.len()).any(|window| window == words);
            let before = count.passed.or(said.then_some(0));
            count.passed = before.map(|before| before + length as u64);
            // What comes after the break passes.
            before
                .and_then(|before| count.cut.checked_sub(before))
                .filter(|left| *left > 0 && *left <= length as u64)
        };
        match left {
            Some(left) => {
                let left = usize::try_from(left).expect("no more than the buffer");
                return server.write_all(&bytes[..left]);
            }
            None => server.write_all(bytes)?,
        }
    }
}
