//! Debian's nginx on a free loopback port: in front of a registry, or as a remote cache of Bazel's.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use tempfile::TempDir;

use crate::port::listening;
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

    /// Passes requests on to `upstream` (`HOST:PORT`) if their bodies have no more than `limit` bytes.
    pub fn admitting(upstream: &str, limit: u64) -> Self {
        let directory = crate::scratch();
        Self::start(
            directory,
            "",
            &format!(
                "location / {{
                    proxy_pass http://{upstream};
                    proxy_set_header Host $http_host;
                    client_max_body_size {limit};
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

    /// A remote cache for Bazel's `--remote_cache=http://HOST`, empty at first.
    pub fn cache() -> Self {
        let directory = crate::scratch();
        let home = directory.path().display();
        let server = format!(
            "root {home}/cache; access_log {home}/access.log moved;
            location / {{
                dav_methods PUT;
                create_full_put_path on;
                client_max_body_size 0;
            }}"
        );
        Self::start(directory, "", &server)
    }

    /// What was sent to [`Nginx::cache`], one item for each request: the path, such as `/cas/HEX`, and
    /// the number of bytes.
    pub fn uploaded(&self) -> Vec<(String, u64)> {
        self.moved("PUT")
    }

    /// What [`Nginx::cache`] had and sent out, in the manner of [`Nginx::uploaded`].
    pub fn downloaded(&self) -> Vec<(String, u64)> {
        self.moved("GET")
    }

    fn moved(&self, method: &str) -> Vec<(String, u64)> {
        // The one worker ends what it does for a request, its line in the log as well, before it
        // turns to the next.
        let mut stream = TcpStream::connect(&self.host).expect("nginx listens");
        write!(stream, "HEAD / HTTP/1.0\r\n\r\n").expect("nginx listens");
        stream.read_to_end(&mut Vec::new()).expect("nginx answers");
        let log = fs::read_to_string(self.directory.path().join("access.log"));
        let log = log.expect("nginx writes a log");
        log.lines()
            .map(|line| line.split(' ').collect::<Vec<_>>())
            .filter(|line| line[0] == method && line[2].starts_with('2'))
            .map(|line| (line[1].to_owned(), line[3].parse().expect("a number")))
            .collect()
    }

    fn start(directory: TempDir, listen: &str, server: &str) -> Self {
        let config = directory.path().join("nginx.conf");
        let home = directory.path().display();
        let started = listening(|host| {
            let text = format!(
                "daemon off; user root; worker_processes 1; pid {home}/pid; error_log {home}/error.log;
                events {{}}
                http {{
                    access_log off;
                    map $request_method $moved {{ PUT $content_length; default $body_bytes_sent; }}
                    log_format moved '$request_method $uri $status $moved';
                    client_body_temp_path {home}/body; proxy_temp_path {home}/proxy;
                    fastcgi_temp_path {home}/f; uwsgi_temp_path {home}/u; scgi_temp_path {home}/s;
                    server {{ listen {host} {listen}; {server} }}
                }}"
            );
            fs::write(&config, text).expect("can be written");
            Root::get()
                .command(Life::Child, &[directory.path()], "nginx")
                .arg("-c")
                .arg(&config)
                .stderr(Stdio::null())
                .spawn()
                .expect("nginx can be run")
        });
        let (process, host) = started.unwrap_or_else(|| {
            let log = fs::read_to_string(directory.path().join("error.log"));
            panic!("nginx does not start: {}", log.unwrap_or_default())
        });
        Self {
            process,
            host,
            directory,
        }
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
