//! What lies between the program and a registry: tokens, certificates, proxies, other hosts.

use std::ffi::OsStr;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;

use oci_pull_all_support::{
    Answer, Content, Deaf, End, Faulty, Identity, LAYER, Mounts, Proxy, Ran, Registry, Unfit, User,
    blobs, digest, noise, side_by_side, skip,
};
use serde_json::json;

use crate::new_user;

#[test]
fn an_anonymous_token_is_asked_for_and_kept() {
    let content = Content::image(&[noise(1, 1000), noise(2, 1000)]);
    let root = content.digest.clone();
    let host: Arc<OnceLock<String>> = Arc::default();
    let realm = Arc::clone(&host);
    let registry = Faulty::start(content, move |seen, answer| {
        if seen.path.starts_with("/token") {
            assert!(seen.path.contains("service=tests"), "{}", seen.path);
            assert!(
                seen.path.contains("scope=repository%3Aapp%3Apull"),
                "{}",
                seen.path
            );
            return Answer::new(200, json!({"token": "good"}).to_string());
        }
        if seen.headers.get("authorization").map(String::as_str) == Some("Bearer good") {
            return answer;
        }
        let realm = realm.get().expect("set before any request");
        Answer::new(401, "{}").header(
            "WWW-Authenticate",
            format!("Bearer realm=\"http://{realm}/token\",service=\"tests\",scope=\"repository:app:pull\""),
        )
    });
    host.set(registry.host()).expect("set once");
    let user = new_user();
    user.run(&[
        "pull",
        &format!("{}/app@{root}", registry.host()),
        "--output",
        "out",
    ])
    .succeeded();
    assert_eq!(blobs(&user.path("out")).len(), 4);
    let tokens = registry
        .seen()
        .iter()
        .filter(|seen| seen.path.starts_with("/token"))
        .count();
    assert_eq!(tokens, 1);
}

#[test]
fn a_foreign_layer_comes_from_its_url_with_no_credentials() {
    let layer = noise(3, 5000);
    let data = layer.clone();
    let elsewhere = Faulty::start(Content::default(), move |_, _| {
        Answer::new(200, data.clone())
    });
    let descriptor = json!({
        "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "digest": digest(&layer),
        "size": layer.len(),
        "urls": [format!("http://user:hunter2@{}/layer", elsewhere.host())],
    });
    let content = Content::default().finish(&[descriptor]);
    let root = content.digest.clone();
    let registry = Faulty::guarded(content);
    let user = new_user();
    let config = json!({"auths": {registry.host(): {"auth": "dGVzdGVyOnNlY3JldA=="}}});
    std::fs::write(user.path("config.json"), config.to_string()).expect("can be written");
    let reference = format!("{}/app@{root}", registry.host());
    user.run(&[
        "pull",
        &reference,
        "--output",
        "out",
        "--docker-config",
        "config.json",
    ])
    .succeeded();
    assert_eq!(blobs(&user.path("out")).len(), 3);
    let seen = elsewhere.seen();
    assert!(seen.iter().any(|seen| seen.path == "/layer"));
    assert!(
        seen.iter()
            .all(|seen| !seen.headers.contains_key("authorization"))
    );
}

/// Whatever the others answer, and each once before any is asked again (descriptor.md, `urls`).
#[test]
fn every_url_of_a_foreign_layer_is_asked() {
    let layer = noise(3, 5000);
    for (bad, most) in [
        ("busy", 1),
        ("short", 1),
        ("wrong", 1),
        ("long", 1),
        ("cut", 2),
        ("gone", 1),
        ("nobody", 0),
    ] {
        let data = layer.clone();
        let elsewhere = Faulty::start(Content::default(), move |seen, _| match &*seen.path {
            "/good" => Answer::new(200, data.clone()),
            "/busy" => Answer::new(503, "busy").header("Retry-After", "0"),
            "/short" => Answer::new(200, "nope"),
            "/wrong" => Answer::new(200, vec![0; 5000]),
            "/long" => Answer::new(200, noise(3, 9000)),
            "/cut" => Answer::new(200, data.clone()).cut(100, End::Reset),
            _ => Answer::new(404, ""),
        });
        let bad_url = match bad {
            "nobody" => format!("http://{}/", Deaf::new().host()),
            bad => format!("http://{}/{bad}", elsewhere.host()),
        };
        let content = foreign(
            &layer,
            &[bad_url, format!("http://{}/good", elsewhere.host())],
        );
        let user = new_user();
        pull_image(&user, content).succeeded();
        assert_eq!(blobs(&user.path("out")).len(), 3, "{bad}");
        assert!(elsewhere.count(&format!("/{bad}")) <= most, "{bad}");
    }
}

/// Who fails for a while is asked again, once all were.
#[test]
fn a_url_of_a_foreign_layer_may_be_busy() {
    let layer = noise(3, 5000);
    let data = layer.clone();
    let elsewhere = Faulty::start(Content::default(), move |seen, _| match &*seen.path {
        "/busy" if seen.earlier == 0 => Answer::new(503, "busy").header("Retry-After", "0"),
        "/busy" => Answer::new(200, data.clone()),
        _ => Answer::new(404, ""),
    });
    let urls = ["busy", "gone"].map(|name| format!("http://{}/{name}", elsewhere.host()));
    pull_image(&new_user(), foreign(&layer, &urls)).succeeded();
    assert_eq!(elsewhere.count("/gone"), 1);
}

/// However often it is listed; and each tells why.
#[test]
fn a_url_of_a_foreign_layer_is_asked_and_told_once() {
    let layer = noise(3, 5000);
    let elsewhere = Faulty::start(Content::default(), move |seen, _| match &*seen.path {
        "/secret" => Answer::new(403, "the bucket is closed"),
        _ => Answer::new(404, ""),
    });
    let url = |name: &str| format!("http://{}/{name}", elsewhere.host());
    let urls = [vec![url("secret")], vec![url("gone"); 50]].concat();
    let ran = pull_image(&new_user(), foreign(&layer, &urls));
    ran.failed(&["the bucket is closed", "/gone", "404 Not Found"]);
    assert_eq!(elsewhere.count("/gone"), 1);
    assert_eq!(elsewhere.count("/secret"), 1);
    let forms = [
        url("form"),
        url("form").replace("http:", "HTTP:"),
        url("./x/../form#x"),
    ];
    pull_image(&new_user(), foreign(&layer, &forms)).failed(&["/form"]);
    assert_eq!(elsewhere.count("/form"), 1);
    let many: Vec<String> = ["a", "b", "c", "d", "e"].map(url).to_vec();
    let ran = pull_image(&new_user(), foreign(&layer, &many));
    ran.failed(&["/a: ", "/b: ", "and 2 more)", "/e: "]);
}

/// Who made the image may name any number.
#[test]
fn only_some_of_many_urls_of_a_foreign_layer_are_asked() {
    let layer = noise(3, 5000);
    let elsewhere = Faulty::start(Content::default(), |_, _| Answer::new(404, ""));
    let urls: Vec<_> = (0..1000)
        .map(|n| format!("http://{}/{n}", elsewhere.host()))
        .collect();
    let ran = pull_image(&new_user(), foreign(&layer, &urls));
    ran.failed(&["/0: ", "and 5 more; 992 URLs were not asked)", "/7: "]);
    assert_eq!(elsewhere.seen().len(), 8);
}

/// All are asked once before anybody is waited for: the URLs, too.
#[test]
fn a_url_of_a_foreign_layer_is_asked_before_a_busy_mirror_is_asked_again() {
    let layer = noise(3, 5000);
    let blob = digest(&layer);
    let data = layer.clone();
    let elsewhere = Faulty::start(Content::default(), move |_, _| {
        Answer::new(200, data.clone())
    });
    for (mirrors, origins) in [(503, 404), (429, 503), (404, 503), (503, 403)] {
        let content = foreign(&layer, &[format!("http://{}/layer", elsewhere.host())]);
        let root = content.digest.clone();
        let spoiled = |status| {
            let blob = blob.clone();
            Faulty::start(content.clone(), move |seen, answer| {
                if seen.path.ends_with(&blob) {
                    Answer::new(status, "").header("Retry-After", "1")
                } else {
                    answer
                }
            })
        };
        let (mirror, origin) = (spoiled(mirrors), spoiled(origins));
        let reference = format!("{}/app@{root}", origin.host());
        let pull = ["pull", &reference, "--output", "out"];
        let mirrored = ["--mirror", &mirror.host()];
        new_user().run(&[&pull[..], &mirrored].concat()).succeeded();
        assert_eq!(mirror.count(&blob), 1, "{mirrors}");
        assert_eq!(origin.count(&blob), 1, "{origins}");
    }
}

/// What a registry may not give, others may; what it said is told if they do not, beside what they said or sent.
#[test]
fn the_urls_of_a_layer_are_asked_whatever_the_registry_says() {
    let layer = noise(3, 5000);
    let data = layer.clone();
    let elsewhere = Faulty::start(Content::default(), move |seen, _| match &*seen.path {
        "/good" => Answer::new(200, data.clone()),
        "/wrong" => Answer::new(200, noise(4, 5000)),
        _ => Answer::new(401, "who are you"),
    });
    let sent = format!("/wrong: what {} sent has the digest", elsewhere.host());
    for status in [400, 403, 404, 410, 451, 501] {
        for (name, says) in [
            ("good", None),
            ("bad", Some("who are you")),
            ("wrong", Some(&*sent)),
        ] {
            let url = format!("http://{}/{name}", elsewhere.host());
            let content = foreign(&layer, &[url]);
            let root = content.digest.clone();
            let blob = digest(&layer);
            let registry = Faulty::start(content, move |seen, answer| {
                if seen.path.ends_with(&blob) {
                    Answer::new(status, "not for everybody")
                } else {
                    answer
                }
            });
            let reference = format!("{}/app@{root}", registry.host());
            let ran = new_user().run(&["pull", &reference, "--output", "out"]);
            match (says, status) {
                (None, _) => drop(ran.succeeded()),
                (Some(says), 404) => ran.failed(&["neither in the registry", says]),
                (Some(says), _) => ran.failed(&["not for everybody", says]),
            }
        }
    }
}

/// An image with this layer, which the registry does not have.
fn foreign(layer: &[u8], urls: &[String]) -> Content {
    Content::default().finish(&[json!({
        "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "digest": digest(layer),
        "size": layer.len(),
        "urls": urls,
    })])
}

/// The user has named neither the host nor the image's maker.
#[test]
fn a_url_of_a_foreign_layer_that_is_none_is_told_as_that() {
    let layer = noise(3, 5000);
    for url in ["file:///etc/passwd", "ftp://127.0.0.1/layer"] {
        let content = foreign(&layer, &[url.to_owned()]);
        let (digest, missing) = (content.digest.clone(), digest(&layer));
        let registry = Faulty::start(content, move |seen, answer| {
            if seen.path.ends_with(&missing) {
                Answer::new(404, "")
            } else {
                answer
            }
        });
        let reference = format!("{}/app@{digest}", registry.host());
        let ran = new_user().run(&["pull", &reference, "--output", "out"]);
        assert!(!ran.stderr.contains("--plain-http"), "{}", ran.stderr);
        let told = format!("the image names {url:?}, which is no http or https URL of a host");
        ran.failed(&[&told, "who made the image"]);
    }
}

/// Which variable there is for a proxy says the scheme, and for loopback there is none.
#[test]
fn who_is_not_reached_is_told_with_the_proxy_that_may_help() {
    for (host, arguments, environment, told) in [
        (
            "reg.invalid",
            &[][..],
            &[][..],
            "leads there, set HTTPS_PROXY",
        ),
        (
            "reg.invalid",
            &["--plain-http", "reg.invalid"],
            &[("HTTPS_PROXY", "http://127.0.0.1:1")],
            "leads there, set HTTP_PROXY",
        ),
        (
            "reg.invalid",
            &[],
            &[
                ("HTTPS_PROXY", "http://127.0.0.1:1"),
                ("NO_PROXY", "invalid"),
            ],
            "leads there, take it out of NO_PROXY",
        ),
        (
            "127.0.0.1:1",
            &[],
            &[("HTTPS_PROXY", "http://127.0.0.1:1")],
            "; check the registry's name and port",
        ),
    ] {
        let reference = format!("{host}/app:latest");
        let resolve = [&["resolve", &reference][..], arguments].concat();
        let ran = new_user().run_with(environment, &resolve);
        let is_loopback = host.starts_with("127");
        assert!(
            !is_loopback || !ran.stderr.contains("PROXY"),
            "{}",
            ran.stderr
        );
        ran.failed(&[told]);
    }
}

/// What servers send that speak older versions alone (RFC 8446, 6.2).
#[test]
fn who_speaks_an_old_version_of_tls_is_told_of_as_that() {
    let (host, _) = listener(b"\x15\x03\x02\x00\x02\x02\x46");
    let reference = format!("{host}/app:latest");
    let ran = new_user().run(&["resolve", &reference]);
    assert!(!ran.stderr.contains("clock"), "{}", ran.stderr);
    ran.failed(&["1.2 or newer is needed; who runs that host has to mend it"]);
}

#[test]
fn what_fails_at_a_url_of_a_foreign_layer_is_not_told_as_the_registrys() {
    let layer = noise(3, 5000);
    let nobody = Deaf::new();
    let content = foreign(&layer, &[format!("http://{}/x", nobody.host())]);
    let ran = pull_image(&new_user(), content);
    assert!(!ran.stderr.contains("registry's name"), "{}", ran.stderr);
    ran.failed(&[
        "neither in the registry nor at any of its URLs",
        "; if that comes again, who runs that host",
    ]);
}

/// As Go's servers, nginx and others answer, and as those do that answer nothing, or by TLS.
#[test]
fn a_host_that_is_spoken_to_in_clear_by_mistake_is_told_with_what_to_do() {
    let image = Content::image(&[noise(1, 1000)]);
    let root = image.digest.clone();
    let pull = |host: &str, plain: bool| {
        let reference = format!("{host}/app@{root}");
        let pull = ["pull", &reference, "--output", "out"];
        let clear = ["--plain-http", host];
        new_user().run(&[&pull[..], &clear[..if plain { 2 } else { 0 }]].concat())
    };
    let instead = "; leave plain_http = True (--plain-http) away";
    for said in [
        "Client sent an HTTP request to an HTTPS server.",
        "<html><h1>400</h1>The plain HTTP request was sent to HTTPS port</html>",
        "Reason: You're speaking plain HTTP to an SSL-enabled server port.",
    ] {
        let registry = Faulty::start(image.clone(), move |_, _| Answer::new(400, said));
        pull(&registry.host(), true).failed(&[instead]);
        assert_eq!(registry.seen().len(), 1);
        // Where that was nobody's word.
        let ran = pull(&registry.host(), false);
        assert!(!ran.stderr.contains("plain_http"), "{}", ran.stderr);
        ran.failed(&["who runs that host knows why"]);
    }
    let secure = Faulty::start_tls(&Identity::new(), image.clone(), |_, answer| answer);
    pull(&secure.host(), true).failed(&["it speaks TLS, and was spoken to without", instead]);
    let (alert, asked) = listener(&[21, 3, 1, 0, 2, 2, 10]);
    pull(&alert, true).failed(&["it speaks TLS, and was spoken to without", instead]);
    assert_eq!(
        asked.load(Ordering::Relaxed),
        2,
        "once in clear, and once by TLS"
    );
}

/// What does not show that TLS is spoken is not told as if it did.
#[test]
fn who_fails_in_clear_may_do_so_for_other_reasons() {
    let image = Content::image(&[noise(1, 1000)]);
    let root = image.digest.clone();
    let (ssh, asked) = listener(b"SSH-2.0-x\r\n");
    let busy = Faulty::start(image.clone(), |_, _| Answer::new(400, "no such API"));
    for (host, told) in [
        (&ssh, "what comes is no HTTP"),
        (&busy.host(), "who runs that host knows why"),
    ] {
        let reference = format!("{host}/app@{root}");
        let pull = ["pull", &reference, "--output", "out", "--plain-http", host];
        let ran = new_user().run(&pull);
        assert!(!ran.stderr.contains("plain_http"), "{}", ran.stderr);
        ran.failed(&[told]);
    }
    assert_eq!(
        asked.load(Ordering::Relaxed),
        2,
        "once in clear, and once by TLS"
    );
    // A mirror is named with its scheme.
    for end in [End::Reset, End::Close] {
        let mirror = Faulty::start(image.clone(), move |_, _| Answer::none(end));
        let origin = Faulty::good(image.clone());
        let reference = format!("{}/app@{root}", origin.host());
        let mirror = format!("http://{}", mirror.host());
        let pull = ["pull", &reference, "--output", "out", "--mirror", &mirror];
        let ran = new_user().run(&pull).succeeded();
        assert!(!ran.stderr.contains("plain_http"), "{}", ran.stderr);
        assert!(ran.stderr.contains("the mirror "), "{}", ran.stderr);
    }
}

/// Who speaks before being asked, and how often somebody was there. It ends with the program.
fn listener(first: &'static [u8]) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let host = listener.local_addr().expect("bound").to_string();
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.expect("a connection");
            counter.fetch_add(1, Ordering::Relaxed);
            let _ = connection.write_all(first);
            let _ = connection.read(&mut [0; 1000]);
        }
    });
    (host, asked)
}

/// It would be the same the next time.
#[test]
fn an_answer_that_is_no_http_is_asked_for_once() {
    type Spoil = Box<dyn Fn(Answer) -> Answer + Send + Sync>;
    let image = Content::image(&[noise(1, 1000)]);
    let root = image.digest.clone();
    let pull = |registry: &Faulty| {
        let reference = format!("{}/app@{root}", registry.host());
        new_user().run(&["pull", &reference, "--output", "out"])
    };
    let many = |mut answer: Answer, count: usize| {
        let headers = (0..count).map(|n| (format!("X-{n}"), "y".to_owned()));
        answer.headers.extend(headers);
        answer
    };
    let large = |answer: Answer| answer.header("X", "x".repeat(1 << 20));
    let differing = |mut answer: Answer| {
        let other = ("Content-Length".to_owned(), "5".to_owned());
        answer.headers.push(other);
        answer
    };
    let too_many = "the headers of the answer are too many, more than 1000, or too large";
    let spoils: [(Spoil, &str); 4] = [
        (Box::new(large), too_many),
        (Box::new(move |answer| many(answer, 2000)), too_many),
        (
            Box::new(differing),
            "what comes is no HTTP: invalid content-length",
        ),
        (
            Box::new(|answer| answer.header("X y", "z")),
            "what comes is no HTTP: a header has characters that none may have",
        ),
    ];
    for (spoil, told) in spoils {
        let registry = Faulty::start(image.clone(), move |_, answer| spoil(answer));
        pull(&registry).failed(&["no answer from", told]);
        assert_eq!(registry.seen().len(), 1, "{told}");
    }
    // Behind answers that are.
    for (chunks, told) in [
        ("no size\r\n".to_owned(), "Invalid chunk size"),
        ("f".repeat(100), "invalid chunk size: overflow"),
        (
            format!("5;{}", "x".repeat(100_000)),
            "chunk extensions over limit",
        ),
        (
            format!("0\r\nX: {}", "x".repeat(1 << 20)),
            "chunk trailers bytes over limit",
        ),
    ] {
        let registry = Faulty::start(image.clone(), move |seen, mut answer| {
            if seen.path.contains("/blobs/") {
                answer.headers.retain(|(name, _)| name != "Content-Length");
                answer.body = chunks.clone().into_bytes();
                answer = answer.header("Transfer-Encoding", "chunked");
            }
            answer
        });
        let ran = pull(&registry);
        for wrong in ["its port", "no answer"] {
            assert!(!ran.stderr.contains(wrong), "{}", ran.stderr);
        }
        let told = format!("breaks off: what comes is no HTTP: {told}");
        ran.failed(&[&registry.host(), &told]);
        assert!(registry.seen().iter().all(|seen| seen.earlier == 0));
    }
    let chatty = Faulty::start(image.clone(), move |_, answer| many(answer, 500));
    pull(&chatty).succeeded();
}

/// A server at the address of another one, which sends this instead of what comes behind the handshake, and how often
/// it was asked for a connection. It ends with the program.
fn spoiling(upstream: String, bytes: &'static [u8]) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let host = listener.local_addr().expect("bound").to_string();
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    thread::spawn(move || {
        for client in listener.incoming() {
            counter.fetch_add(1, Ordering::Relaxed);
            let mut client = client.expect("a connection");
            let mut server = TcpStream::connect(&upstream).expect("it listens");
            let mut flight = vec![0; 1 << 16];
            // One flight each, and the request behind the client's last one.
            for flights in [1, 2] {
                let length = client.read(&mut flight).unwrap_or(0);
                let _ = server.write_all(&flight[..length]);
                let length = server.read(&mut flight).unwrap_or(0);
                let sent = if flights == 2 {
                    bytes
                } else {
                    &flight[..length]
                };
                let _ = client.write_all(sent);
            }
            let _ = client.read(&mut flight);
        }
    });
    (host, asked)
}

/// What was damaged on its way may come right; what is no TLS is so again.
#[test]
fn a_record_that_is_none_is_not_asked_for_again() {
    let identity = Identity::new();
    let content = Content::image(&[noise(1, 1000)]);
    let root = content.digest.clone();
    let registry = Faulty::start_tls(&identity, content, |_, answer| answer);
    let certificate = identity.certificate().display().to_string();
    for (bytes, told, again) in [
        (
            &b"\x17\x03\x03\xff\xff"[..],
            "what comes is no TLS: message too large",
            false,
        ),
        (
            b"HTTP/1.1 200 OK\r\n",
            "what comes is no TLS: invalid content type",
            false,
        ),
        (
            b"\x17\x03\x03\x00\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
            "what comes by TLS is damaged",
            true,
        ),
    ] {
        let (host, asked) = spoiling(registry.host(), bytes);
        let environment = [("SSL_CERT_FILE", certificate.as_str())];
        pull_from(&new_user(), &host, &root, &environment).failed(&[&host, told]);
        // At first it is asked whether it speaks TLS.
        let tries = asked.load(Ordering::Relaxed) - 1;
        assert_eq!(tries > 1, again, "{tries} {told}");
    }
}

/// Some have other bytes in a URL than there may be (RFC 3986, 2.1).
#[test]
fn a_redirect_in_another_encoding_is_followed() {
    let content = Content::image(&[noise(1, 1000)]);
    let root = content.digest.clone();
    let registry = Faulty::good(content);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let host = listener.local_addr().expect("bound").to_string();
    let upstream = registry.host();
    // It ends with the program.
    thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.expect("a connection");
            let mut request = [0; 4000];
            let length = client.read(&mut request).expect("a request");
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            let Some(path) = request.split(' ').nth(1) else {
                continue;
            };
            let location = format!("Location: http://{upstream}{path}#");
            let head = b"HTTP/1.1 307 Elsewhere\r\nConnection: close\r\nContent-Length: 0\r\n";
            let answer = [head, location.as_bytes(), b"f\xfcr\r\n\r\n"].concat();
            let _ = client.write_all(&answer);
        }
    });
    pull_from(&new_user(), &host, &root, &[]).succeeded();
}

/// The rest of it may come the next time.
#[test]
fn a_head_that_breaks_off_is_asked_for_again() {
    let image = Content::image(&[noise(1, 1000)]);
    let root = image.digest.clone();
    let registry = Faulty::good(image);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let host = listener.local_addr().expect("bound").to_string();
    let upstream = registry.host();
    let cut = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&cut);
    // It ends with the program.
    thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.expect("a connection");
            let mut request = [0; 4000];
            let length = client.read(&mut request).expect("a request");
            if request.starts_with(b"GET") && counter.fetch_add(1, Ordering::Relaxed) < 2 {
                let _ = client.write_all(b"HTTP/1.1 200 OK\r\nContent-Le");
                continue;
            }
            let mut server = TcpStream::connect(&upstream).expect("it listens");
            server.write_all(&request[..length]).expect("it reads");
            let _ = std::io::copy(&mut server, &mut client);
        }
    });
    let reference = format!("{host}/app@{root}");
    let pull = ["pull", &reference, "--output", "out", "--concurrency", "1"];
    new_user().run(&pull).succeeded();
    assert!(cut.load(Ordering::Relaxed) > 2);
}

/// Who has a layer at a URL of its own says nothing of the registry.
#[test]
fn ranges_of_a_foreign_layer_are_not_the_registrys() {
    const LARGE: usize = 24 << 20;
    let layer = noise(3, LARGE);
    let data = layer.clone();
    let elsewhere = Faulty::start(Content::default(), move |seen, _| {
        if seen.headers.contains_key("range") {
            Answer::new(416, "")
        } else {
            Answer::new(200, data.clone())
        }
    });
    let foreign = json!({
        "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "digest": digest(&layer),
        "size": layer.len(),
        "urls": [format!("http://{}/layer", elsewhere.host())],
    });
    let mut content = Content::default();
    let own = content.add(LAYER, noise(4, LARGE / 2));
    let content = content.finish(&[foreign, own]);
    let root = content.digest.clone();
    let registry = Faulty::good(content);
    let reference = format!("{}/app@{root}", registry.host());
    let one = ["--concurrency", "1"];
    let user = new_user();
    user.run(&[&["pull", &reference, "--output", "out"], &one[..]].concat())
        .succeeded();
    let ranges = |server: &Faulty| {
        let seen = server.seen();
        let others = seen
            .iter()
            .filter(|seen| !seen.path.ends_with(&digest(&layer)));
        others
            .filter(|seen| seen.headers.contains_key("range"))
            .count()
    };
    assert_eq!(ranges(&elsewhere), 1, "one is tried");
    assert!(ranges(&registry) > 1);
}

#[test]
fn a_certificate_is_trusted_only_when_told() {
    let registry = Registry::with_tls();
    let image = format!("{}/library/debian", registry.host());
    let reference = format!("{image}@{}", registry.digest("library/debian", "stable"));
    let user = new_user();
    user.run(&["pull", &reference, "--output", "no", "--shallow"])
        .failed(&[registry.host(), "certificate"]);
    assert!(!user.path("no/index.json").exists());

    let certificate = registry.identity().certificate().display().to_string();
    let trusting = [("SSL_CERT_FILE", certificate.as_str())];
    user.run_with(
        &trusting,
        &["pull", &reference, "--output", "yes", "--shallow"],
    )
    .succeeded();

    // A proxy is asked for what is not on this machine.
    let proxy = Proxy::start();
    let url = proxy.url();
    let through = [trusting[0], ("HTTPS_PROXY", url.as_str())];
    let far = reference.replace("127.0.0.1", "registry.test");
    let far_host = registry.host().replace("127.0.0.1", "registry.test");
    let pull = |environment: &[(&str, &str)], reference: &str, output: &str| {
        let arguments = [
            "pull",
            reference,
            "--output",
            output,
            "--shallow",
            "--no-store",
        ];
        user.run_with(environment, &arguments)
    };
    pull(&through, &far, "through").succeeded();
    let socks = proxy.socks_url();
    pull(&[trusting[0], ("ALL_PROXY", &socks)], &far, "socks").succeeded();
    assert!(proxy.targets().iter().all(|target| *target == far_host));
    assert!(!proxy.targets().is_empty());

    let before = proxy.targets().len();
    pull(&through, &reference, "near").succeeded();
    for around in [
        "registry.test",
        ".test",
        "*.test",
        far_host.as_str(),
        "a, REGISTRY.test",
    ] {
        let around = [through[0], through[1], ("NO_PROXY", around)];
        pull(&around, &far, "around").failed(&["registry.test"]);
    }
    assert_eq!(proxy.targets().len(), before);
    pull(
        &[through[0], through[1], ("NO_PROXY", "registry.test:1")],
        &far,
        "through",
    )
    .succeeded();
    assert!(proxy.targets().len() > before);
}

/// A pull over TLS.
fn pull_by_tls(user: &User, identity: &Identity, environment: &[(&str, &str)]) -> Ran {
    let content = Content::image(&[noise(1, 1000)]);
    let root = content.digest.clone();
    let registry = Faulty::start_tls(identity, content, |_, answer| answer);
    pull_from(user, &registry.host(), &root, environment)
}

/// Pulls an image from a registry that does what it should.
fn pull_image(user: &User, content: Content) -> Ran {
    let root = content.digest.clone();
    let registry = Faulty::good(content);
    pull_from(user, &registry.host(), &root, &[])
}

fn pull_from(user: &User, host: &str, root: &str, environment: &[(&str, &str)]) -> Ran {
    let reference = format!("{host}/app@{root}");
    let pull = ["pull", &reference, "--output", "out", "--no-store"];
    user.run_with(environment, &pull)
}

#[test]
fn certificates_are_trusted_that_the_environment_names() {
    let user = new_user();
    let (one, other) = (Identity::new(), Identity::new());
    let file = one.certificate().display().to_string();
    std::fs::create_dir(user.path("certs")).expect("can be made");
    std::fs::copy(other.certificate(), user.path("certs/other.pem")).expect("can be copied");
    std::fs::write(user.path("certs/README"), "nothing").expect("can be written");
    let directory = format!(":{}:", user.path("certs").display());
    let both = [
        ("SSL_CERT_FILE", file.as_str()),
        ("SSL_CERT_DIR", directory.as_str()),
    ];
    pull_by_tls(&user, &one, &both).succeeded();
    pull_by_tls(&user, &other, &both).succeeded();
    pull_by_tls(&user, &other, &both[..1])
        .failed(&["its certificate is signed by an authority that is not known"]);

    for (name, content) in [("empty.pem", &[][..]), ("der.pem", one.der())] {
        std::fs::write(user.path(name), content).expect("can be written");
        let path = user.path(name).display().to_string();
        pull_by_tls(&user, &one, &[("SSL_CERT_FILE", &path)]).failed(&[
            "SSL_CERT_FILE",
            &path,
            "no certificate in PEM",
        ]);
    }
    for name in ["SSL_CERT_FILE", "SSL_CERT_DIR"] {
        pull_by_tls(&user, &one, &[(name, "/nowhere")]).failed(&[name, "/nowhere"]);
    }
    // Nobody writes into it.
    let pipe = user.path("certs/pipe.crt").display().to_string();
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("can be run").success());
    let path = user.path("certs").display().to_string();
    pull_by_tls(&user, &other, &[("SSL_CERT_DIR", &path)]).succeeded();
    pull_by_tls(&user, &one, &[("SSL_CERT_FILE", &pipe)]).failed(&[
        "SSL_CERT_FILE",
        &pipe,
        "not a regular file",
    ]);
    // It has the armour of a certificate, and none in it.
    std::fs::create_dir(user.path("none")).expect("can be made");
    let none = user.path("none").display().to_string();
    let pem = "-----BEGIN CERTIFICATE-----\nbm90aGluZw==\n-----END CERTIFICATE-----\n";
    std::fs::write(user.path("none.pem"), pem).expect("can be written");
    let file = user.path("none.pem").display().to_string();
    for der in ["one.crt", "two.der"] {
        let named = [("SSL_CERT_DIR", none.as_str())];
        pull_by_tls(&user, &one, &named).failed(&["SSL_CERT_DIR", &none, "no certificate in PEM"]);
        std::fs::write(user.path("none").join(der), one.der()).expect("can be written");
    }
    pull_by_tls(&user, &one, &[("SSL_CERT_FILE", &file)]).failed(&["SSL_CERT_FILE", &file]);
}

/// Where the system lets a process have its own view of files, it may have its own authorities.
#[test]
fn the_systems_authorities_are_trusted_beside_those_that_the_environment_names() {
    const DIRECTORY: &str = "/etc/ssl/certs";
    let Some(mounts) = Mounts::or_skip() else {
        return;
    };
    if !Path::new(DIRECTORY).is_dir() {
        return skip("this system has its authorities elsewhere");
    }
    let (systems, named, other) = (Identity::new(), Identity::new(), Identity::new());
    let file = named.certificate().display().to_string();
    let pull = |script: &str, identity: Option<&Identity>| {
        let content = Content::image(&[noise(1, 1000)]);
        let root = content.digest.clone();
        let registry = match identity {
            Some(identity) => Faulty::start_tls(identity, content, |_, answer| answer),
            None => Faulty::good(content),
        };
        let reference = format!("{}/app@{root}", registry.host());
        let script = format!("mount -t tmpfs none {DIRECTORY} && {script}");
        let pull = ["pull", &reference, "--output", "out"];
        new_user().run_by(mounts.within(&script), &pull)
    };
    let bundle = systems.certificate().display().to_string();
    let with_bundle = format!("cp {bundle} {DIRECTORY}/ca-certificates.crt");
    let with_both = format!("{with_bundle} && export SSL_CERT_FILE={file}");
    pull(&with_both, Some(&systems)).succeeded();
    pull(&with_both, Some(&named)).succeeded();
    pull(&with_both, Some(&other)).failed(&["certificate", "SSL_CERT_FILE"]);
    pull(&with_bundle, Some(&systems)).succeeded();
    pull(&with_bundle, Some(&named)).failed(&["certificate", "SSL_CERT_FILE"]);

    // Without any.
    pull("true", None).succeeded();
    pull("true", Some(&systems)).failed(&["certificate"]);
    pull(&format!("export SSL_CERT_FILE={file}"), Some(&named)).succeeded();
}

/// What `openssl req -x509` makes says of itself that it is an authority.
#[test]
fn a_certificate_that_was_named_itself_is_trusted() {
    let user = new_user();
    let (named, other) = (Identity::of_authority(), Identity::of_authority());
    let file = named.certificate().display().to_string();
    let environment = [("SSL_CERT_FILE", file.as_str())];
    pull_by_tls(&user, &named, &environment).succeeded();
    pull_by_tls(&user, &other, &environment).failed(&["certificate"]);
    // Nor does it need the authority that signed it.
    let signed = Identity::of_unknown_authority();
    pull_by_tls(&user, &signed, &environment).failed(&["an authority that is not known"]);
    let itself = signed.certificate().display().to_string();
    pull_by_tls(&user, &signed, &[("SSL_CERT_FILE", &itself)]).succeeded();
    // It is for its own names.
    let content = Content::image(&[noise(1, 1000)]);
    let root = content.digest.clone();
    let registry = Faulty::start_tls(&named, content, |_, answer| answer);
    let host = registry.host().replace("127.0.0.1", "localhost");
    let ran = pull_from(&user, &host, &root, &environment);
    assert!(!ran.stderr.contains("HTTPS_PROXY"), "{}", ran.stderr);
    ran.failed(&["certificate", "check the host's name"]);
}

/// Who is trusted itself signs for nobody else.
#[test]
fn what_is_no_authority_signs_no_other_certificate() {
    let user = new_user();
    for signed in [
        Identity::signed_by_none(),
        Identity::of_authority_signed_by_none(),
    ] {
        let file = signed.authority().display().to_string();
        pull_by_tls(&user, &signed, &[("SSL_CERT_FILE", &file)])
            .failed(&["an authority that is not known", "SSL_CERT_FILE"]);
    }
    let signed = Identity::of_unknown_authority();
    let file = signed.authority().display().to_string();
    pull_by_tls(&user, &signed, &[("SSL_CERT_FILE", &file)]).succeeded();
}

/// An authority that was named may sign a certificate that says the same of itself.
#[test]
fn an_authority_that_was_named_may_sign_another_one() {
    let user = new_user();
    let signed = Identity::of_signed_authority();
    let (unsigned, other) = (Identity::of_authority(), Identity::of_signed_authority());
    let file = signed.authority().display().to_string();
    let environment = [("SSL_CERT_FILE", file.as_str())];
    pull_by_tls(&user, &signed, &environment).succeeded();
    // It has the name of the one that was named, and another key.
    for unknown in [&unsigned, &other] {
        pull_by_tls(&user, unknown, &environment)
            .failed(&["an authority that is not known", "SSL_CERT_FILE"]);
    }
    for of_clients in [
        Identity::of_authority_for_clients(),
        Identity::of_signed_authority_for_clients(),
    ] {
        let all = user.path("all.pem");
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let named = read(of_clients.certificate()) + &read(of_clients.authority());
        std::fs::write(&all, named).expect("can be written");
        let all = all.display().to_string();
        pull_by_tls(&user, &of_clients, &[("SSL_CERT_FILE", &all)])
            .failed(&["its certificate is not for servers"]);
    }
}

/// The TLS library looks at nothing of who is trusted but the name and the key.
#[test]
fn an_authority_that_is_trusted_counts_only_in_its_time() {
    for (unfit, why) in [
        (Unfit::Expired, "expired on Sat, 03 Feb 2001 00:00:00 GMT"),
        (
            Unfit::NotYet,
            "is not valid before Tue, 03 Feb 2950 00:00:00 GMT",
        ),
        (
            Unfit::Extension,
            "has a critical extension that is not known here",
        ),
    ] {
        let identity = Identity::of_unfit_authority(unfit);
        let content = Content::image(&[noise(1, 1000)]);
        let root = content.digest.clone();
        let registry = Faulty::start_tls(&identity, content, |_, answer| answer);
        let host = registry.host();
        let pull = |user: &User, name: &str, value: &Path| {
            pull_from(user, &host, &root, &[(name, &value.display().to_string())])
        };
        let told = |path: &Path| {
            let path = path.display();
            format!(
                "its certificate is signed by the authority \"rcgen self signed cert\" in {path}, which {why}; check this machine's clock"
            )
        };
        let user = new_user();
        let file = identity.authority();
        pull(&user, "SSL_CERT_FILE", &file).failed(&[&host, &told(&file)]);
        std::fs::create_dir(user.path("certs")).expect("can be made");
        std::fs::copy(&file, user.path("certs/a.pem")).expect("can be copied");
        pull(&user, "SSL_CERT_DIR", &user.path("certs"))
            .failed(&[&told(&user.path("certs/a.pem"))]);
        let of_registry = user.path(&format!(".config/containers/certs.d/{host}"));
        std::fs::create_dir_all(&of_registry).expect("can be made");
        std::fs::copy(&file, of_registry.join("ca.crt")).expect("can be copied");
        pull_from(&user, &host, &root, &[]).failed(&[&told(&of_registry.join("ca.crt"))]);
        assert_eq!(registry.seen().len(), 0);
        // Who is trusted itself needs no authority.
        pull(&user, "SSL_CERT_FILE", &identity.certificate()).succeeded();
    }
}

#[test]
fn certificates_of_a_registry_are_found_where_docker_and_podman_have_them() {
    let client = Identity::new();
    let server = Identity::for_client(&client);
    let content = Content::image(&[noise(1, 1000)]);
    let root = content.digest.clone();
    let registry = Faulty::start_tls(&server, content, |_, answer| answer);
    let host = registry.host();
    for directory in ["containers", "docker"] {
        let user = new_user();
        let of_registry = user.path(&format!(".config/{directory}/certs.d/{host}"));
        std::fs::create_dir_all(&of_registry).expect("can be made");
        pull_from(&user, &host, &root, &[]).failed(&["an authority that is not known"]);
        let authority = of_registry.join("ca.crt");
        let made = std::process::Command::new("mkfifo")
            .arg(&authority)
            .status();
        assert!(made.expect("can be run").success());
        pull_from(&user, &host, &root, &[]).failed(&["ca.crt", "not a regular file"]);
        std::fs::remove_file(&authority).expect("there");
        std::fs::copy(server.certificate(), authority).expect("can be copied");
        pull_from(&user, &host, &root, &[]).failed(&["certs.d", "certificate"]);
        std::fs::copy(client.certificate(), of_registry.join("client.cert")).expect("copied");
        pull_from(&user, &host, &root, &[]).failed(&["client.cert", "client.key"]);
        std::fs::copy(client.key(), of_registry.join("client.key")).expect("can be copied");
        pull_from(&user, &host, &root, &[]).succeeded();
    }
}

/// A registry that wants to be shown one of several certificates, as its token service does at the same host.
#[test]
fn a_registry_gets_the_certificate_that_it_asks_for() {
    let (client, other) = (Identity::new(), Identity::new());
    let server = Identity::for_client(&client);
    let content = Content::image(&[noise(1, 1000)]);
    let root = content.digest.clone();
    let name: Arc<OnceLock<String>> = Arc::default();
    let own = Arc::clone(&name);
    let registry = Faulty::start_tls(&server, content, move |seen, answer| {
        if seen.path.starts_with("/token") {
            return Answer::new(200, json!({"token": "good"}).to_string());
        }
        if seen.headers.contains_key("authorization") {
            return answer;
        }
        let host = own.get().expect("set before any request");
        let realm = format!("Bearer realm=\"https://{host}/token\"");
        Answer::new(401, "{}").header("WWW-Authenticate", realm)
    });
    name.set(registry.host()).expect("set once");
    let host = registry.host();
    let user = new_user();
    let of_registry = user.path(&format!(".config/containers/certs.d/{host}"));
    std::fs::create_dir_all(&of_registry).expect("can be made");
    std::fs::copy(server.certificate(), of_registry.join("ca.crt")).expect("can be copied");
    for (name, identity) in [("a", &other), ("b", &client), ("c", &other)] {
        let copy = |from, extension: &str| {
            let to = of_registry.join(format!("{name}.{extension}"));
            std::fs::copy(from, to).expect("can be copied");
        };
        copy(identity.certificate(), "cert");
        copy(identity.key(), "key");
    }
    pull_from(&user, &host, &root, &[]).succeeded();

    // Of a pair that is none, the file is named.
    let key = of_registry.join("c.key");
    let write = |text: &str| std::fs::write(&key, text).expect("can be written");
    std::fs::copy(client.key(), &key).expect("can be copied");
    pull_from(&user, &host, &root, &[]).failed(&["c.key is not the key of", "c.cert"]);
    write("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n");
    pull_from(&user, &host, &root, &[]).failed(&["c.key holds no key", "not encrypted"]);
    std::fs::remove_file(of_registry.join("c.cert")).expect("can be removed");
    pull_from(&user, &host, &root, &[]).failed(&["c.key is of no use", "c.cert"]);
}

#[test]
fn a_refusal_of_a_proxy_is_named_as_such() {
    let proxy = Faulty::start(Content::default(), |_, _| Answer::new(403, "no"));
    let reference = format!("registry.test/app@{}", digest(b""));
    let environment = [("HTTPS_PROXY", format!("http://{}", proxy.host()))];
    let environment = environment
        .each_ref()
        .map(|(name, url)| (*name, url.as_str()));
    let ran = new_user().run_with(&environment, &["pull", &reference, "--output", "out"]);
    let refuses = format!("the proxy {} refuses to connect there", proxy.host());
    ran.failed(&["registry.test", &refuses, "HTTPS_PROXY"]);
    assert_eq!(proxy.seen().len(), 4);
    // Which status it is, is known of that one alone.
    for (login, says) in [
        (
            "",
            "takes nobody without a login; write one into the variable that names it",
        ),
        (
            "user:hunter2@",
            "refuses the login that its URL has; correct it in",
        ),
    ] {
        let proxy = Faulty::start(Content::default(), |_, _| Answer::new(407, "no"));
        let url = format!("http://{login}{}", proxy.host());
        let pull = ["pull", &reference, "--output", "out"];
        let ran = new_user().run_with(&[("HTTPS_PROXY", &url)], &pull);
        assert!(!ran.stderr.contains("hunter2"), "{}", ran.stderr);
        ran.failed(&[
            "registry.test",
            &format!("the proxy {} {says}", proxy.host()),
        ]);
        assert_eq!(proxy.seen().len(), 1);
    }
}

/// What it takes of a login, it says in two bytes (RFC 1928, 3; RFC 1929, 2).
#[test]
fn what_a_socks_proxy_says_of_a_login_is_told() {
    for (login, answers, says) in [
        (
            "",
            &[[5, 0xff]][..],
            "takes nobody without a login; write one into",
        ),
        (
            "",
            &[[5, 2]],
            "takes nobody without a login; write one into",
        ),
        (
            "user:hunter2@",
            &[[5, 0xff]],
            "takes no login by a password; take it out of",
        ),
        (
            "user:hunter2@",
            &[[5, 2], [1, 1]],
            "refuses the login that its URL has; correct it in",
        ),
    ] {
        let proxy = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let host = proxy.local_addr().expect("bound").to_string();
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        thread::spawn(move || {
            for mut client in proxy.incoming().map_while(Result::ok) {
                counter.fetch_add(1, Ordering::Relaxed);
                for answer in answers {
                    let _ = client.read(&mut [0; 100]);
                    let _ = client.write_all(answer);
                }
                let _ = client.read(&mut [0; 100]);
            }
        });
        for variable in ["HTTPS_PROXY", "ALL_PROXY"] {
            let url = format!("socks5h://{login}{host}");
            let reference = format!("registry.test/app@{}", digest(b""));
            let pull = ["pull", &reference, "--output", "out"];
            let ran = new_user().run_with(&[(variable, &url)], &pull);
            for wrong in ["hunter2", "http://", "SOCKS"] {
                assert!(!ran.stderr.contains(wrong), "{}", ran.stderr);
            }
            ran.failed(&[&format!("from registry.test: the proxy {host} {says}")]);
        }
        assert_eq!(asked.load(Ordering::Relaxed), 2);
    }
}

/// Whether it is the proxy that says nothing, or who is behind it, nobody can tell.
#[test]
fn a_proxy_that_says_nothing_is_named() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let host = silent.local_addr().expect("bound").to_string();
    let url = format!("http://{host}");
    let reference = format!("registry.test/app@{}", digest(b""));
    let pull = ["pull", &reference, "--output", "out", "--idle-timeout", "1"];
    let plain = ["--plain-http", "registry.test"];
    for (variable, plain) in [("HTTPS_PROXY", &[][..]), ("HTTP_PROXY", &plain)] {
        let ran = new_user().run_with(&[(variable, &*url)], &[&pull[..], plain].concat());
        let named = format!("no answer from registry.test: through the proxy {host}: ");
        ran.failed(&[&named, "; correct HTTPS_PROXY"]);
    }
}

/// As that of a network where one has to log in first.
#[test]
fn a_proxy_that_redirects_to_a_portal_is_named() {
    let proxy = Faulty::start(Content::default(), |_, _| {
        Answer::new(302, "").header("Location", "http://portal.test/login")
    });
    let url = format!("http://{}", proxy.host());
    let reference = format!("registry.test/app@{}", digest(b""));
    let pull = ["pull", &reference, "--output", "out"];
    let plain = ["--plain-http", "registry.test"];
    let ran = new_user().run_with(&[("HTTP_PROXY", &*url)], &[&pull[..], &plain].concat());
    let named = format!("portal.test through the proxy {} redirects", proxy.host());
    ran.failed(&[&named, "a proxy before it"]);
}

/// The user has named neither the host nor the scheme, and no flag changes what a URL says.
#[test]
fn who_names_a_host_without_tls_by_https_is_named() {
    let layer = noise(3, 5000);
    let (clear, _) = listener(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    let there = format!("https://{clear}/x");
    let between = there.clone();
    let storage = Faulty::start(Content::default(), move |_, _| {
        Answer::new(307, "").header("Location", &*between)
    });
    let storages = format!("http://{}/x", storage.host());
    let foreign = foreign(&layer, std::slice::from_ref(&there));
    let image = Content::image(&[layer]);
    for (kind, content, location) in [
        ("token", &image, &there),
        ("/blobs/", &image, &there),
        ("storage", &image, &storages),
        ("urls", &foreign, &there),
    ] {
        let (root, location) = (content.digest.clone(), location.clone());
        let registry = Faulty::start(content.clone(), move |seen, answer| match kind {
            "token" => {
                let realm = format!("Bearer realm=\"{location}\"");
                Answer::new(401, "{}").header("WWW-Authenticate", realm)
            }
            "/blobs/" | "storage" if seen.path.contains("/blobs/") => {
                Answer::new(307, "").header("Location", &*location)
            }
            _ => answer,
        });
        let by = match kind {
            "storage" => storage.host(),
            "urls" => "the image".to_owned(),
            _ => registry.host(),
        };
        let ran = pull_from(&new_user(), &registry.host(), &root, &[]);
        assert!(!ran.stderr.contains("plain_http"), "{}", ran.stderr);
        let named = format!(
            "no answer from {clear}: it speaks no TLS, and {by} names it by an https URL; who does so has to mend it"
        );
        ran.failed(&[&named]);
    }
}

/// The proxy has done its part.
#[test]
fn who_speaks_no_tls_behind_a_proxy_is_named_and_asked_once() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.expect("a connection");
            counter.fetch_add(1, Ordering::Relaxed);
            let _ = connection.read(&mut [0; 16]);
            let _ = connection.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
            // Who hangs up before all is read takes back what was said.
            let _ = std::io::copy(&mut connection, &mut std::io::sink());
        }
    });
    let host = format!("registry.test:{port}");
    let reference = format!("{host}/app@{}", digest(b""));
    let url = Proxy::start().url();
    let pull = ["pull", &reference, "--output", "out"];
    let ran = new_user().run_with(&[("HTTPS_PROXY", &*url)], &pull);
    let named = format!("no answer from {host}: it speaks no TLS; if it is meant to speak plain");
    ran.failed(&[&named]);
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

/// The certificate is not the registry's.
#[test]
fn a_proxy_whose_certificate_nobody_trusts_is_named() {
    let proxy = Faulty::start_tls(&Identity::new(), Content::default(), |_, answer| answer);
    let reference = format!("registry.test/app@{}", digest(b""));
    let url = format!("https://{}", proxy.host());
    let pull = ["pull", &reference, "--output", "out"];
    let ran = new_user().run_with(&[("HTTPS_PROXY", &url)], &pull);
    let named = format!(
        "through the proxy {}: its certificate is signed",
        proxy.host()
    );
    ran.failed(&["no answer from registry.test", &named, "SSL_CERT_FILE"]);
}

/// What is not encrypted passes through no tunnel: the proxy's answer comes as if it were the registry's.
#[test]
fn a_refusal_of_a_proxy_for_plain_http_is_named_as_such() {
    let image = Content::image(&[noise(1, 1000)]);
    let reference = format!("registry.test/app@{}", image.digest);
    let pull = |proxy: &Faulty| {
        let url = format!("http://{}", proxy.host());
        let pull = ["pull", &reference, "--output", "out"];
        let plain = ["--plain-http", "registry.test"];
        new_user().run_with(&[("HTTP_PROXY", &url)], &[&pull[..], &plain].concat())
    };
    for (status, tries) in [(403, 1), (407, 1), (502, 4), (503, 4)] {
        let proxy = Faulty::start(Content::default(), move |_, _| {
            Answer::new(status, "<html><b>no such host</b></html>")
        });
        let ran = pull(&proxy);
        assert!(!ran.stderr.contains("docker login"), "{}", ran.stderr);
        let proxys = format!("through the proxy {}", proxy.host());
        ran.failed(&["registry.test", &proxys, "no such host", "HTTP_PROXY"]);
        assert_eq!(proxy.count("registry.test/v2/"), 0);
        assert_eq!(proxy.seen().len(), tries);
    }
    // It may repeat its login, as that is written or is.
    let proxy = Faulty::start(Content::default(), |_, _| {
        Answer::new(407, "no hunt%40er1, no hunt@er1, no dXNlcjpodW50QGVyMQ")
    });
    let url = format!("http://user:hunt%40er1@{}", proxy.host());
    let plain = [
        "pull",
        &reference,
        "--output",
        "out",
        "--plain-http",
        "registry.test",
    ];
    let ran = new_user().run_with(&[("HTTP_PROXY", &url)], &plain);
    ran.failed(&["no …, no …, no …"]);
    // What a registry says comes through.
    let proxy = Faulty::good(image.clone());
    pull(&proxy).succeeded();
    let proxy = Faulty::start(image.clone(), |_, _| {
        Answer::new(403, "{}").header("Docker-Distribution-Api-Version", "registry/2.0")
    });
    pull(&proxy).failed(&["registry.test refused access (403", "docker login"]);
}

/// The host that a redirect leads to is asked through the same proxy.
#[test]
fn a_proxys_login_is_shown_behind_a_redirect() {
    let image = Content::image(&[noise(1, 1000)]);
    let reference = format!("registry.test/app@{}", image.digest);
    let answers = image.clone();
    let proxy = Faulty::start(image, move |seen, answer| {
        let name = seen.path.rsplit('/').next().unwrap_or_default();
        if !seen.headers.contains_key("proxy-authorization") {
            Answer::new(407, "")
        } else if seen.path.starts_with("http://cdn.test/") {
            answers.answer_to(name)
        } else if seen.path.contains("/blobs/") {
            Answer::new(307, "").header("Location", format!("http://cdn.test/{name}"))
        } else {
            answer
        }
    });
    let url = format!("http://user:hunter2@{}", proxy.host());
    let pull = ["pull", &reference, "--output", "out"];
    let plain = ["--plain-http", "registry.test"];
    new_user()
        .run_with(&[("HTTP_PROXY", &url)], &[&pull[..], &plain].concat())
        .succeeded();
}

/// Whatever names one host and port is one registry, in every place where it is read.
#[test]
fn a_registry_is_one_however_it_is_written() {
    let content = Content::image(&[noise(1, 1000)]);
    let root = content.digest.clone();
    let cases = [
        (
            "registry.test",
            "registry.test:80",
            "registry.test:80",
            "r.test",
        ),
        (
            "registry.test:80",
            "Registry.Test",
            "registry.test",
            "r.test:443",
        ),
        (
            "REGISTRY.test:5000",
            "registry.TEST:5000",
            "http://Registry.test:5000/v2/",
            "R.test",
        ),
        (
            "[2001:db8::1]",
            "[2001:db8:0:0::1]:80",
            "[2001:DB8::1]",
            "r.test",
        ),
        (
            "[2001:db8:0::1]:5000",
            "[2001:db8::1]:5000",
            "[2001:0db8::1]:5000",
            "r.test",
        ),
    ];
    side_by_side(cases, |(image, plain, login, site)| {
        let registry = Faulty::guarded(content.clone());
        let proxy = format!("http://{}", registry.host());
        let user = new_user();
        std::fs::create_dir(user.path(".docker")).expect("can be made");
        let config = json!({"auths": {login: {"auth": "dGVzdGVyOnNlY3JldA=="}}});
        std::fs::write(user.path(".docker/config.json"), config.to_string()).expect("written");
        let pull = |image: &str, environment: &[(&str, &str)]| {
            let reference = format!("{image}/app@{root}");
            let pull = ["pull", &reference, "--output", "out", "--no-store"];
            user.run_with(environment, &[&pull[..], &["--plain-http", plain]].concat())
        };
        let through = ("HTTP_PROXY", &*proxy);
        pull(image, &[through]).succeeded();
        let mirrors = format!("{site}={image}");
        pull("r.test", &[through, ("OCI_PULL_ALL_MIRRORS", &mirrors)]).succeeded();
        let seen = registry.seen().len();
        pull(image, &[through, ("NO_PROXY", image)]).failed(&["no answer from"]);
        assert_eq!(registry.seen().len(), seen, "{image}");
    });
    for name in ["localhost.", "localhost.:5000", "registry.test."] {
        let reference = format!("{name}/app@{root}");
        let pull = ["pull", &reference, "--output", "out"];
        new_user().run(&pull).failed(&[name, "is not a host"]);
    }
}

/// In helpers, which know one name alone, and in a site's mirrors.
#[test]
fn a_registry_in_clear_is_one_with_its_port_and_without() {
    let content = Content::image(&[noise(1, 1000)]);
    let root = content.digest.clone();
    for (image, filed) in [
        ("registry.test:80", "registry.test"),
        ("registry.test", "registry.test:80"),
    ] {
        let registry = Faulty::guarded(content.clone());
        let proxy = format!("http://{}", registry.host());
        let user = new_user();
        let write =
            |name: &str, text: &str| std::fs::write(user.path(name), text).expect("written");
        user.write_script(
            "docker-credential-stored",
            &format!(
                "read -r name\nif [ \"$name\" = {filed} ]; then\n{}\nelse\n{}\nfi",
                r#"echo '{"Username": "tester", "Secret": "secret"}'"#,
                "echo credentials not found in native keychain; exit 1",
            ),
        );
        let path = format!("{}:/usr/bin:/bin", user.home().display());
        let pull = |config: &str, mirrors: &str| {
            write("config.json", config);
            let reference = format!("{image}/app@{root}");
            let pull = ["pull", &reference, "--output", "out", "--no-store"];
            let plain = ["--plain-http", image, "--docker-config", "config.json"];
            let variables = [
                ("HTTP_PROXY", &*proxy),
                ("PATH", &path),
                ("OCI_PULL_ALL_MIRRORS", mirrors),
            ];
            let ran = user.run_with(&variables, &[&pull[..], &plain].concat());
            ran.succeeded();
        };
        pull(r#"{"credsStore": "stored"}"#, "");
        pull(&json!({"credHelpers": {filed: "stored"}}).to_string(), "");
        let login = json!({"auths": {filed: {"auth": "dGVzdGVyOnNlY3JldA=="}}});
        pull(&login.to_string(), &format!("{filed}=http://mirror.test"));
        let seen = registry.seen();
        assert!(
            seen.iter()
                .any(|seen| seen.path.starts_with("http://mirror.test/"))
        );
    }
}

#[test]
fn this_machines_loopback_is_never_proxied() {
    let content = Content::image(&[noise(1, 1000)]);
    let root = content.digest.clone();
    let registry = Faulty::guarded(content);
    let proxy = Faulty::start(Content::default(), |_, _| Answer::new(502, "no"));
    let url = format!("http://{}", proxy.host());
    let names = [
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "http_proxy",
        "https_proxy",
    ];
    let environment = names.map(|name| (name, url.as_str()));
    for host in [
        registry.host(),
        registry.host().replace("127.0.0.1", "localhost"),
    ] {
        let user = new_user();
        let config = json!({"auths": {&host: {"auth": "dGVzdGVyOnNlY3JldA=="}}});
        std::fs::write(user.path("config.json"), config.to_string()).expect("can be written");
        let reference = format!("{host}/app@{root}");
        let pull = [
            "pull",
            &reference,
            "--output",
            "out",
            "--docker-config",
            "config.json",
        ];
        user.run_with(&environment, &pull).succeeded();
    }
    assert!(proxy.seen().is_empty());
}

#[test]
fn a_proxy_that_cannot_be_used_is_an_error() {
    let reference = format!("registry.invalid/app@{}", digest(b""));
    for proxy in [
        "ftp://u:hunter2@proxy.test",
        "http://u:hunter2@",
        "http://a b",
    ] {
        for name in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "HTTP_PROXY"] {
            let ran =
                new_user().run_with(&[(name, proxy)], &["pull", &reference, "--output", "out"]);
            assert!(!ran.stderr.contains("hunter2"), "{}", ran.stderr);
            ran.failed(&[name, "cannot be used"]);
        }
    }
    // A password in Latin-1.
    let mut env = Command::new("env");
    env.arg(OsStr::from_bytes(
        b"HTTPS_PROXY=http://u:hunter2\xe9@proxy.test",
    ));
    let ran = new_user().run_by(env, &["pull", &reference, "--output", "out"]);
    assert!(!ran.stderr.contains("hunter2"), "{}", ran.stderr);
    ran.failed(&["HTTPS_PROXY", "cannot be used"]);
}

#[test]
fn a_redirect_from_https_to_http_is_refused() {
    let content = Content::image(&[noise(1, 1000)]);
    let image = content.digest.clone();
    let plain = Faulty::good(content.clone());
    let elsewhere = plain.host();
    let identity = Identity::new();
    let front = Faulty::start_tls(&identity, content, move |seen, answer| {
        if seen.path.contains("/blobs/") {
            let location = format!("http://{elsewhere}{}", seen.path);
            return Answer::new(307, "").header("Location", location);
        }
        answer
    });
    let reference = format!("{}/app@{image}", front.host());
    let user = new_user();
    let certificate = identity.certificate().display().to_string();
    user.run_with(
        &[("SSL_CERT_FILE", certificate.as_str())],
        &["pull", &reference, "--output", "out"],
    )
    .failed(&[&reference, "from https to http"]);
    assert!(!user.path("out/index.json").exists());
    assert_eq!(plain.seen().len(), 0);
}

#[test]
#[ignore = "it takes a minute; e2e/test runs it"]
fn a_credential_helper_that_hangs_is_given_up() {
    let content = Content::image(&[noise(1, 1000)]);
    let root = content.digest.clone();
    let registry = Faulty::start(content, |_, _| {
        Answer::new(401, "{}").header("WWW-Authenticate", "Basic realm=\"tests\"")
    });
    let user = new_user();
    user.write_script("docker-credential-hangs", "exec sleep 1000");
    std::fs::write(user.path("config.json"), r#"{"credsStore": "hangs"}"#).expect("can be written");
    let path = format!("{}:/usr/bin:/bin", user.home().display());
    let reference = format!("{}/app@{root}", registry.host());
    let config = ["--docker-config", "config.json"];
    user.run_with(
        &[("PATH", &path)],
        &[&["pull", &reference, "--output", "out"], &config[..]].concat(),
    )
    .failed(&["docker-credential-hangs", "within 60 seconds"]);
}
