//! Connections that break on their way to a server.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// Passes on what clients and a server say, and breaks some connections. It lives as long as the test's
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
    /// How many of them pass between two breaks.
    each: u64,
    /// How many breaks are to come.
    breaks: u64,
}

impl Cutting {
    /// In front of `upstream` (`HOST:PORT`): when `each` bytes have passed since a client first said
    /// `words`, in one write, the connection of the last of them breaks, and so on, `breaks` times.
    pub fn before(upstream: &str, words: &str, each: u64, breaks: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let count = Arc::new(Mutex::new(Count {
            passed: None,
            each,
            breaks,
        }));
        let (upstream, words) = (upstream.to_owned(), words.to_owned());
        let shared = Arc::clone(&count);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let server = TcpStream::connect(&upstream).expect("the server listens");
                let (words, count) = (words.clone(), Arc::clone(&shared));
                std::thread::spawn(move || {
                    // Either side may hang up at any time.
                    let _ = pass(&client, &server, |bytes| count_in(&count, &words, bytes));
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

/// Passes on what the client says, until one of them ends it or `break_in` tells behind which of the bytes at
/// hand the connection is to break.
fn pass(
    mut client: &TcpStream,
    mut server: &TcpStream,
    break_in: impl Fn(&[u8]) -> Option<usize>,
) -> std::io::Result<()> {
    let broken = Arc::new(AtomicBool::new(false));
    let answers = std::thread::spawn({
        let (mut server, mut client) = (server.try_clone()?, client.try_clone()?);
        let broken = Arc::clone(&broken);
        move || {
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(length @ 1..) = server.read(&mut buffer) {
                if !broken.load(Ordering::SeqCst) && client.write_all(&buffer[..length]).is_err() {
                    break;
                }
            }
            let _ = client.shutdown(Shutdown::Both);
        }
    });
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = client.read(&mut buffer) {
        let bytes = &buffer[..length];
        if let Some(end) = break_in(bytes) {
            broken.store(true, Ordering::SeqCst);
            server.write_all(&bytes[..end])?;
            break;
        }
        server.write_all(bytes)?;
    }
    // The client learns of the break when the server is done with what came.
    server.shutdown(Shutdown::Write)?;
    let _ = answers.join();
    Ok(())
}

fn count_in(count: &Mutex<Count>, words: &str, bytes: &[u8]) -> Option<usize> {
    let mut count = count.lock().expect("no thread panicked");
    let mut windows = bytes.windows(words.len());
    let said = count.passed.is_some() || windows.any(|window| window == words.as_bytes());
    if !said {
        return None;
    }
    let before = count.passed.unwrap_or(0);
    let after = before + bytes.len() as u64;
    count.passed = Some(after);
    let next = (before / count.each + 1) * count.each;
    if next > after || count.breaks == 0 {
        return None;
    }
    count.breaks -= 1;
    usize::try_from(next - before).ok()
}
