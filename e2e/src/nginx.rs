//! Debian's nginx in front of a registry, on a free loopback port.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use tempfile::TempDir;

use crate::root::{Life, Root};

/// A running nginx. It ends when dropped.
#[derive(Debug)]
pub struct Nginx {
    process: Child,
    host: String,
    directory: TempDir,
}

impl Nginx {
    /// Passes all requests on to `upstream` (`HOST:PORT`), at `rate` bytes a second for each answer.
    pub fn limiting(upstream: &str, rate: u64) -> Self {
        let directory = crate::scratch();
        Self::start(
            directory,
            "",
            &format!(
                "location / {{
                    proxy_pass http://{upstream};
                    proxy_set_header Host $http_host;
                    proxy_max_temp_file_size 0;
                    limit_rate {rate};
                }}"
            ),
        )
    }

    /// Passes requests on to `upstream` over TLS with the certificate and key in these files, but for
    /// blobs: it sends who asks for them to the same path of `upstream` over plain HTTP.
    pub fn downgrading(upstream: &str, certificate: &Path, key: &Path) -> Self {
        let directory = crate::scratch();
        let copy = |file: &Path| -> PathBuf {
            let target = directory.path().join(file.file_name().expect("a file"));
            fs::copy(file, &target).expect("can be copied");
            target
        };
        let (certificate, key) = (copy(certificate), copy(key));
        let server = format!(
            "ssl_certificate {}; ssl_certificate_key {};
            location / {{ proxy_pass http://{upstream}; }}
            location ~ /blobs/ {{ return 307 http://{upstream}$request_uri; }}",
            certificate.display(),
            key.display()
        );
        Self::start(directory, "ssl", &server)
    }

    fn start(directory: TempDir, listen: &str, server: &str) -> Self {
        // nginx cannot choose a free port by itself, and another may take it before nginx does.
        for _ in 0..10 {
            let port = TcpListener::bind("127.0.0.1:0")
                .and_then(|listener| listener.local_addr())
                .expect("a free port")
                .port();
            let host = format!("127.0.0.1:{port}");
            let config = directory.path().join("nginx.conf");
            let home = directory.path().display();
            let text = format!(
                "daemon off; user root; worker_processes 1; pid {home}/pid; error_log {home}/error.log;
                events {{}}
                http {{
                    access_log off;
                    client_body_temp_path {home}/body; proxy_temp_path {home}/proxy;
                    fastcgi_temp_path {home}/f; uwsgi_temp_path {home}/u; scgi_temp_path {home}/s;
                    server {{ listen {host} {listen}; {server} }}
                }}"
            );
            fs::write(&config, text).expect("can be written");
            let mut process = Root::get()
                .command(Life::Child, &[directory.path()], "nginx")
                .arg("-c")
                .arg(&config)
                .stderr(Stdio::null())
                .spawn()
                .expect("nginx can be run");
            while process.try_wait().expect("can be asked").is_none() {
                if TcpStream::connect(&host).is_ok() {
                    return Self {
                        process,
                        host,
                        directory,
                    };
                }
                std::thread::yield_now();
            }
        }
        let log = fs::read_to_string(directory.path().join("error.log"));
        panic!("nginx does not start: {}", log.unwrap_or_default());
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> &str {
        &self.host
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // The master ends its worker when asked to; when killed, it could not.
        let pid = fs::read_to_string(self.directory.path().join("pid")).unwrap_or_default();
        let _ = std::process::Command::new("kill").arg(pid.trim()).status();
        let _ = self.process.wait();
    }
}
