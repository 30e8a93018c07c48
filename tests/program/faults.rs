//! What a bad network or a bad registry does, and how a pull ends: docs/reliability.md has the table.

use std::io::{Read as _, Write as _};
use std::time::{Duration, SystemTime};

use oci_pull_all_support::{
    Answer, Content, Deaf, End, Faulty, Flow, INDEX, LAYER, MANIFEST, PIECE, Ran, Seen, User,
    blobs, digest, noise,
};
use serde_json::{Value, json};

use crate::new_user;

const MEGABYTE: usize = 1 << 20;

/// How it begins what an error says that is to be done.
const ADVICE: [&str; 8] = [
    ": log in there first",
    "; check ",
    "; correct HTTPS_PROXY",
    ": log in with",
    ": have it made and pushed anew",
    " has to mend it",
    ": push it again",
    "; who runs that host knows why",
];

/// A pull of one image from a registry that spoils its answers.
struct Pull {
    user: User,
    registry: Faulty,
    image: String,
    layers: Vec<String>,
}

impl Pull {
    fn new(
        content: Content,
        spoil: impl Fn(&Seen, Answer) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let (root, layers) = (content.digest.clone(), content.layers.clone());
        let registry = Faulty::start(content, spoil);
        let image = format!("{}/app@{root}", registry.host());
        Self {
            user: new_user(),
            registry,
            image,
            layers,
        }
    }

    fn run_with(&self, arguments: &[&str]) -> Ran {
        let pull = ["pull", &self.image, "--output", "out"];
        self.user.run(&[&pull, arguments].concat())
    }

    /// It must end in a complete layout.
    fn completes(&self) {
        self.completes_with(&[]);
    }

    fn completes_with(&self, arguments: &[&str]) {
        self.run_with(arguments).succeeded();
        let names = blobs(&self.user.path("out"));
        for layer in &self.layers {
            assert!(
                names.iter().any(|name| layer.ends_with(name.as_str())),
                "{layer}"
            );
        }
    }

    /// It must end in one error that holds these texts, and leave nothing that could be taken for right.
    fn fails(&self, expected: &[&str]) {
        self.fails_with(&[], expected);
    }

    fn fails_with(&self, arguments: &[&str], expected: &[&str]) {
        let ran = self.run_with(arguments);
        assert_eq!(ran.stderr.matches("error: ").count(), 1, "{}", ran.stderr);
        let says_what_to_do = ADVICE.iter().any(|advice| ran.stderr.contains(advice));
        assert!(says_what_to_do, "{}", ran.stderr);
        ran.failed(&[&[self.image.as_str()], expected].concat());
        assert!(!self.user.path("out/index.json").exists());
        self.user.run(&["store", "verify"]).succeeded();
    }
}

fn image() -> Content {
    Content::image(&[noise(1, 3 * MEGABYTE), noise(2, 1000)])
}

/// Spoils the first answers to requests for the large layer.
fn first(
    count: usize,
    spoil: impl Fn(&Seen, Answer) -> Answer + Send + Sync + 'static,
) -> impl Fn(&Seen, Answer) -> Answer + Send + Sync + 'static {
    let layer = digest(&noise(1, 3 * MEGABYTE));
    move |seen, answer| {
        if seen.path.ends_with(&layer) && seen.earlier < count {
            spoil(seen, answer)
        } else {
            answer
        }
    }
}

/// Spoils every answer to requests for the large layer.
fn always(
    spoil: impl Fn(&Seen, Answer) -> Answer + Send + Sync + 'static,
) -> impl Fn(&Seen, Answer) -> Answer + Send + Sync + 'static {
    first(usize::MAX, spoil)
}

#[test]
fn nobody_listens() {
    let nobody = Deaf::new();
    let reference = format!("{}/app@{}", nobody.host(), image().digest);
    let user = new_user();
    user.run(&["pull", &reference, "--output", "out"]).failed(&[
        &reference,
        &nobody.host(),
        "refused",
    ]);
    assert!(!user.path("out/index.json").exists());
}

/// Who was asked first has answered, and says nothing of who is not there.
#[test]
fn nobody_listens_where_a_registry_leads() {
    for kind in ["/blobs/", "token"] {
        let nobody = Deaf::new();
        let there = nobody.host();
        let pull = Pull::new(image(), move |seen, answer| match kind {
            "token" => {
                let realm = format!("Bearer realm=\"http://{there}/token\"");
                Answer::new(401, "{}").header("WWW-Authenticate", realm)
            }
            kind if seen.path.contains(kind) => {
                Answer::new(307, "").header("Location", format!("http://{there}/data"))
            }
            _ => answer,
        });
        let ran = pull.run_with(&["--concurrency", "1"]);
        ran.failed(&[&format!("no answer from {}", nobody.host()), "refused"]);
        let seen = pull.registry.seen();
        let last = &seen.last().expect("it is asked").path;
        let tries = seen.iter().filter(|seen| seen.path == *last).count();
        // What the token service owes is not asked of the registry again.
        assert_eq!(tries, if kind == "token" { 1 } else { 4 }, "{last}");
    }
}

/// What another host does is not said of the registry.
#[test]
fn who_answers_wrongly_is_named() {
    for (answer, says) in [
        (Answer::new(200, "{}"), "has the digest"),
        (
            Answer::new(429, "").header("Retry-After", "9999"),
            "429 Too Many Requests; wait 9999 s, as it asks",
        ),
    ] {
        let elsewhere = Faulty::start(Content::default(), move |_, _| answer.clone());
        let there = elsewhere.host();
        let pull = Pull::new(image(), move |_, _| {
            Answer::new(307, "").header("Location", format!("http://{there}/data"))
        });
        let ran = pull.run_with(&[]);
        assert!(!ran.stderr.contains("docker login"), "{}", ran.stderr);
        // Mirrors are for pulls alone.
        let mirror = "name a mirror in OCI_PULL_ALL_MIRRORS";
        let advises = ran.stderr.contains(mirror);
        assert_eq!(advises, says.starts_with("429"), "{}", ran.stderr);
        ran.failed(&[&elsewhere.host(), says]);
        let reference = format!("{}/app:1", pull.registry.host());
        let ran = new_user().run(&["resolve", &reference]);
        assert!(!ran.stderr.contains(mirror), "{}", ran.stderr);
        ran.failed(&["cannot resolve"]);
    }
}

/// A port behind which nobody does anything: the system itself takes connections.
#[test]
fn nobody_says_anything() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let host = silent.local_addr().expect("bound").to_string();
    let reference = format!("{host}/app@{}", image().digest);
    let user = new_user();
    let hasty = ["pull", &reference, "--output", "out", "--idle-timeout", "1"];
    user.run(&hasty).failed(&[
        &reference,
        &host,
        "none came in 1 s",
        "check the registry's name and port",
    ]);
    silent.set_nonblocking(true).expect("can be set");
    let tried = std::iter::from_fn(|| silent.accept().ok()).count();
    assert_eq!(tried, 3, "once by TLS, and twice without");
}

/// Somebody does, on and on, but never with an answer (RFC 9110, 15.2).
#[test]
fn who_has_an_answer_announced_without_end_is_given_up() {
    for status in ["100 Continue", "103 Early Hints"] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let host = listener.local_addr().expect("bound").to_string();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let head = format!("HTTP/1.1 {status}\r\n\r\n");
                std::thread::spawn(move || {
                    let _asked = stream.read(&mut [0; 1000]);
                    while stream.write_all(head.as_bytes()).is_ok() {
                        std::thread::sleep(Duration::from_millis(10));
                    }
                });
            }
        });
        let reference = format!("{host}/app@{}", image().digest);
        let pull = ["pull", &reference, "--output", "out", "--idle-timeout", "1"];
        let ran = new_user().run(&[&pull[..], &["--plain-http", &host]].concat());
        assert!(!ran.stderr.contains("nobody"), "{}", ran.stderr);
        ran.failed(&[&host, "none came in 1 s"]);
    }
}

#[test]
fn a_reset_before_the_headers_is_tried_again() {
    Pull::new(image(), first(2, |_, _| Answer::none(End::Reset))).completes();
}

#[test]
fn a_reset_in_a_body_resumes_where_it_broke() {
    // Somewhere in the body, again somewhere in what was left, and again.
    let pull = Pull::new(
        image(),
        first(3, |seen, answer| {
            let offset = [1_234_567, 700_001, 3][seen.earlier];
            answer.cut(offset, End::Reset)
        }),
    );
    pull.completes();
    // A reset may take with it what was not read yet.
    let begins: Vec<_> = pull
        .registry
        .seen()
        .iter()
        .filter_map(|seen| seen.range(3 * MEGABYTE))
        .map(|range| range.start)
        .collect();
    assert_eq!(begins.len(), 3);
    assert!(0 < begins[0] && begins.is_sorted(), "{begins:?}");
}

#[test]
fn a_body_that_ends_early_resumes() {
    let pull = Pull::new(
        image(),
        first(1, |_, answer| answer.cut(2_000_000, End::Close)),
    );
    pull.completes();
    let layer = pull.layers[0].clone();
    let resumed = pull.registry.seen();
    let resumed = resumed
        .iter()
        .filter(|seen| seen.path.ends_with(&layer))
        .nth(1)
        .expect("a second request");
    assert_eq!(resumed.headers["range"], "bytes=2000000-3145727");
}

#[test]
fn a_stall_is_given_up_and_a_slow_body_is_not() {
    let hasty = ["--idle-timeout", "1"];
    let pull = Pull::new(
        image(),
        first(1, |_, answer| answer.cut(1_000_000, End::Stall)),
    );
    pull.completes_with(&hasty);
    assert_eq!(pull.registry.count(&pull.layers[0]), 2);
    Pull::new(image(), first(1, |_, _| Answer::none(End::Stall))).completes_with(&hasty);

    // Longer in all than the time that a connection may say nothing.
    let slow = Flow::paced(Duration::from_millis(200));
    let content = Content::image(&[noise(7, 10 * PIECE)]);
    let pull = Pull::new(content, move |seen, answer| {
        if seen.path.contains("/blobs/") {
            answer.flow(slow.clone())
        } else {
            answer
        }
    });
    pull.completes_with(&hasty);
    assert_eq!(pull.registry.count(&pull.layers[0]), 1);
}

#[test]
fn who_falls_silent_is_asked_once_more() {
    let hasty = ["--idle-timeout", "1"];
    for offset in [0, 1000] {
        let pull = Pull::new(
            image(),
            always(move |_, answer| answer.cut(offset, End::Stall)),
        );
        pull.fails_with(&hasty, &["breaks off", "no more of its body came in 1 s"]);
        assert_eq!(pull.registry.count(&pull.layers[0]), 2);
    }
    let pull = Pull::new(image(), always(|_, _| Answer::none(End::Stall)));
    pull.fails_with(&hasty, &["no answer"]);
    assert_eq!(pull.registry.count(&pull.layers[0]), 2);
}

#[test]
fn a_body_that_goes_on_is_not_read_on() {
    // With no length told, only the descriptor's size limits what is read.
    let pull = Pull::new(
        image(),
        always(|_, mut answer| {
            answer.headers.retain(|(name, _)| name != "Content-Length");
            answer.body.extend(vec![0; MEGABYTE]);
            answer
        }),
    );
    pull.fails(&[&pull.layers[0], "bytes where there should be 3145728"]);
}

#[test]
fn statuses_that_pass_are_waited_for() {
    for status in [408, 429, 500, 502, 503, 504] {
        Pull::new(image(), first(2, move |_, _| Answer::new(status, "busy"))).completes();
    }
}

#[test]
fn retry_after_is_heeded() {
    for seconds in [true, false] {
        let begin = SystemTime::now();
        let pull = Pull::new(
            image(),
            first(1, move |_, _| {
                let value = if seconds {
                    "2".to_owned()
                } else {
                    httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(3))
                };
                Answer::new(429, "slow down").header("Retry-After", value)
            }),
        );
        pull.completes();
        // Less would mean that the header was not read; a first wait without it is shorter.
        assert!(begin.elapsed().expect("time goes on") >= Duration::from_secs(2));
    }
}

#[test]
fn a_wait_that_is_too_long_is_not_waited_for() {
    let pull = Pull::new(
        image(),
        always(|seen, _| {
            let wait = ["1", "18446744073709551615"][seen.earlier.min(1)];
            Answer::new(503, "busy").header("Retry-After", wait)
        }),
    );
    let asked = "503 Service Unavailable: busy; wait 18446744073709551615 s, as it asks";
    pull.fails(&[&pull.layers[0], asked]);
    assert_eq!(pull.registry.count(&pull.layers[0]), 2);
}

#[test]
fn a_registry_that_stays_busy_is_given_up() {
    let pull = Pull::new(
        image(),
        always(|_, _| Answer::new(503, "busy").header("Retry-After", "0")),
    );
    pull.fails(&[&pull.layers[0], "503"]);
    assert_eq!(pull.registry.count(&pull.layers[0]), 8);
}

#[test]
fn what_cannot_succeed_is_not_tried_again() {
    for (status, advice) in [
        (403, "docker login"),
        (404, "so the image is not whole there: push it again"),
        (499, "answered 499; who runs that host knows why"),
        (501, "501 Not Implemented; who runs that host knows why"),
        (
            507,
            "507 Insufficient Storage; who runs that host knows why",
        ),
        (508, "508 Loop Detected; who runs that host knows why"),
        (
            511,
            "the network on the way wants a login: log in there first",
        ),
        (
            302,
            "302 Found; it does not say where to; if that comes again, who runs that host",
        ),
    ] {
        let pull = Pull::new(image(), always(move |_, _| Answer::new(status, "{}")));
        pull.fails(&[&pull.layers[0], advice]);
        assert_eq!(pull.registry.count(&pull.layers[0]), 1);
    }
}

#[test]
fn a_token_that_expires_is_renewed() {
    let host = std::sync::Arc::new(std::sync::OnceLock::<String>::new());
    let realm = std::sync::Arc::clone(&host);
    let layer = digest(&noise(1, 3 * MEGABYTE));
    let pull = Pull::new(image(), move |seen, answer| {
        if seen.path.starts_with("/token") {
            return Answer::new(
                200,
                json!({"token": format!("t{}", seen.earlier)}).to_string(),
            );
        }
        let wanted = if seen.path.ends_with(&layer) {
            "Bearer t1"
        } else {
            "Bearer t"
        };
        if seen
            .headers
            .get("authorization")
            .is_some_and(|value| value.starts_with(wanted))
        {
            return answer;
        }
        let realm = realm.get().expect("set before any request");
        Answer::new(401, "{}").header(
            "WWW-Authenticate",
            format!("Bearer realm=\"http://{realm}/token\",service=\"s\""),
        )
    });
    host.set(pull.registry.host()).expect("set once");
    pull.completes();
}

#[test]
fn a_token_service_that_resets_is_asked_again() {
    let host = std::sync::Arc::new(std::sync::OnceLock::<String>::new());
    let realm = std::sync::Arc::clone(&host);
    let pull = Pull::new(image(), move |seen, answer| {
        if seen.path.starts_with("/token") {
            return match seen.earlier {
                0 | 1 => Answer::none(End::Reset),
                _ => Answer::new(200, r#"{"token": "good"}"#),
            };
        }
        if seen.headers.contains_key("authorization") {
            return answer;
        }
        let realm = realm.get().expect("set before any request");
        Answer::new(401, "{}").header(
            "WWW-Authenticate",
            format!("Bearer realm=\"http://{realm}/token\",service=\"s\""),
        )
    });
    host.set(pull.registry.host()).expect("set once");
    pull.completes();
}

#[test]
fn wrong_bytes_of_the_right_length_are_never_kept() {
    let spoil = |_: &Seen, mut answer: Answer| {
        let length = answer.body.len();
        answer.body[length / 2] ^= 1;
        answer
    };
    Pull::new(image(), first(1, spoil)).completes();
    let pull = Pull::new(image(), always(spoil));
    let sent = |host: &str| {
        format!(
            "{}: what {host} sent has the digest sha256:",
            pull.layers[0]
        )
    };
    pull.fails(&[&sent(&pull.registry.host())]);
    assert_eq!(
        pull.registry.count(&pull.layers[0]),
        2,
        "twice wrong is wrong"
    );
    // Who sent them is not always the registry, nor one alone.
    let storage = [1, 2].map(|_| {
        let data = noise(3, 3 * MEGABYTE);
        Faulty::start(Content::default(), move |seen, _| {
            match seen.range(data.len()) {
                Some(range) => {
                    let of = format!("bytes {}-{}/{}", range.start, range.end - 1, data.len());
                    Answer::new(206, &data[range]).header("Content-Range", of)
                }
                None => Answer::new(200, data.clone()).cut(MEGABYTE, End::Reset),
            }
        })
    });
    let mut hosts = storage.each_ref().map(|storage| storage.host());
    hosts.sort();
    for number in [1, 2] {
        let there = hosts.clone();
        let pull = Pull::new(
            image(),
            always(move |seen, _| {
                let location = format!("http://{}/", there[seen.earlier % number]);
                Answer::new(307, "").header("Location", location)
            }),
        );
        pull.fails(&[&sent(&hosts[..number].join(", "))]);
    }
}

#[test]
fn lengths_and_types_that_lie() {
    let pull = Pull::new(
        image(),
        always(|_, answer| answer.header("Content-Length", "5")),
    );
    pull.fails(&[&pull.layers[0], "announces 5 bytes"]);
    assert_eq!(pull.registry.count(&pull.layers[0]), 2);
    Pull::new(
        image(),
        first(1, |_, answer| answer.header("Content-Length", "5")),
    )
    .completes();
    Pull::new(
        image(),
        always(|_, answer| answer.header("Content-Type", "text/html")),
    )
    .completes();
}

#[test]
fn ranges_that_are_not_answered_as_asked() {
    // All of it instead of the rest.
    let data = noise(1, 3 * MEGABYTE);
    Pull::new(
        image(),
        first(2, move |seen, answer| match seen.earlier {
            0 => answer.cut(MEGABYTE, End::Reset),
            _ => Answer::new(200, data.clone()),
        }),
    )
    .completes();
    // Another range.
    Pull::new(
        image(),
        first(2, |seen, answer| match seen.earlier {
            0 => answer.cut(MEGABYTE, End::Reset),
            _ => answer.header("Content-Range", "bytes 5-3145727/3145728"),
        }),
    )
    .completes();
}

/// An answer to a range that is of no use, whatever it is: all of the blob is to be had.
#[test]
fn ranges_that_cannot_be_used_are_done_without() {
    type Spoil = fn(Answer) -> Answer;
    fn with_range(answer: Answer, edit: fn(&str) -> String) -> Answer {
        let mut headers = answer.headers.iter();
        let range = headers.find(|(name, _)| name == "Content-Range");
        let range = edit(&range.expect("a range").1);
        answer.header("Content-Range", range)
    }
    let cases: [(&str, Spoil); 16] = [
        ("304", |_| Answer::new(304, "")),
        ("400", |_| Answer::new(400, "")),
        ("401", |_| Answer::new(401, "")),
        ("404", |_| Answer::new(404, "")),
        ("405", |_| Answer::new(405, "")),
        ("403", |_| {
            Answer::new(403, "<Error><Code>SignatureDoesNotMatch</Code></Error>")
        }),
        ("416", |_| {
            Answer::new(416, "").header("Content-Range", "bytes */1")
        }),
        ("501", |_| Answer::new(501, "")),
        ("505", |_| Answer::new(505, "")),
        ("none", |mut answer| {
            answer.headers.retain(|(name, _)| name != "Content-Range");
            answer
        }),
        ("an equals sign", |answer| {
            with_range(answer, |range| range.replace(' ', "="))
        }),
        ("no unit", |answer| {
            with_range(answer, |range| range.replace("bytes ", ""))
        }),
        ("another", |answer| {
            with_range(answer, |_| "bytes 7-8/9".to_owned())
        }),
        ("a part as all", |mut answer| {
            answer.status = 200;
            answer.headers.retain(|(name, _)| name != "Content-Range");
            answer
        }),
        ("a part as all, of no length", |mut answer| {
            answer.status = 200;
            answer
                .headers
                .retain(|(name, _)| name != "Content-Range" && name != "Content-Length");
            answer
        }),
        ("several parts", |answer| {
            let body = [b"--B\r\n\r\n".as_slice(), &answer.body, b"\r\n--B--\r\n"].concat();
            Answer::new(206, body).header("Content-Type", "multipart/byteranges; boundary=B")
        }),
    ];
    let content = Content::image(&[noise(8, LARGE), noise(9, LARGE / 2)]);
    for (name, spoil) in cases {
        let pull = Pull::new(content.clone(), move |seen, answer| {
            if seen.headers.contains_key("range") {
                spoil(answer)
            } else {
                answer
            }
        });
        pull.completes_with(&["--concurrency", "1"]);
        let seen = pull.registry.seen();
        let ranges = seen
            .iter()
            .filter(|seen| seen.headers.contains_key("range"));
        assert_eq!(ranges.count(), 1, "{name}: one is tried in a pull");
        let whole = |layer: &String| pull.registry.count(layer);
        let asked: Vec<_> = pull.layers.iter().map(whole).collect();
        assert_eq!(asked, [2, 1], "{name}");
    }
}

/// It says which part it is, and brings more.
#[test]
fn a_range_that_goes_on_is_done_without() {
    let content = Content::image(&[noise(8, LARGE)]);
    let pull = Pull::new(content, move |seen, mut answer| {
        if seen.headers.contains_key("range") {
            answer.headers.retain(|(name, _)| name != "Content-Length");
            answer.body.extend([0; PIECE]);
        }
        answer
    });
    pull.completes_with(&["--concurrency", "1"]);
    let seen = pull.registry.seen();
    let ranges = seen
        .iter()
        .filter(|seen| seen.headers.contains_key("range"));
    assert_eq!(ranges.count(), 1);
}

const LARGE: usize = 24 * MEGABYTE;

/// A pull of a large layer from a registry that limits each connection.
fn large(spoil: impl Fn(&Seen, Answer) -> Answer + Send + Sync + 'static) -> Pull {
    let content = Content::image(&[noise(8, LARGE)]);
    let layer = content.layers[0].clone();
    let flow = Flow::paced(Duration::from_micros(500));
    Pull::new(content, move |seen, answer| {
        if seen.path.ends_with(&layer) {
            spoil(seen, answer.flow(flow.clone()))
        } else {
            answer
        }
    })
}

/// The ranges that were asked for of a large layer, in its order.
fn ranges(pull: &Pull) -> Vec<std::ops::Range<usize>> {
    let mut ranges: Vec<_> = pull
        .registry
        .seen()
        .iter()
        .filter(|seen| seen.path.ends_with(&pull.layers[0]))
        .filter_map(|seen| seen.range(LARGE))
        .collect();
    ranges.sort_by_key(|range| range.start);
    ranges
}

#[test]
fn a_large_layer_comes_over_several_connections() {
    let pull = large(|_, answer| answer);
    pull.completes();
    // Two are tried at once; more come only as the registry is found to be slow.
    assert!(pull.registry.most_at_once() > 2);
    assert!(pull.registry.most_at_once() <= 8);
    let ranges = ranges(&pull);
    assert_eq!((ranges[0].start, ranges[ranges.len() - 1].end), (0, LARGE));
    for pair in ranges.windows(2) {
        assert_eq!(pair[0].end, pair[1].start, "each byte is asked for once");
    }

    let pull = large(|_, answer| answer);
    pull.completes_with(&["--concurrency", "2"]);
    assert_eq!(pull.registry.most_at_once(), 2);
}

#[test]
fn resets_on_several_connections_cost_no_byte_twice() {
    let pull = large(|seen, answer| {
        let cut = 1 + seen.earlier * 777_777 % answer.body.len();
        if seen.earlier < 12 {
            answer.cut(cut, End::Reset)
        } else {
            answer
        }
    });
    pull.completes();
    // A reset may take with it what its connection had not delivered.
    assert!(pull.registry.sent() < (LARGE + LARGE / 5) as u64);
}

#[test]
fn a_large_layer_without_ranges_comes_over_one_connection() {
    let data = noise(8, LARGE);
    let pull = large(move |_, answer| Answer::new(200, data.clone()).flow(answer.flow));
    pull.completes();
    assert_eq!(pull.registry.count(&pull.layers[0]), 1);

    // It refuses them.
    let pull = large(|seen, answer| match seen.range(LARGE) {
        Some(_) => Answer::new(416, ""),
        None => answer,
    });
    pull.completes();
    assert_eq!(pull.registry.count(&pull.layers[0]), 2);

    // It honours the first, and then no more: that must not bring the layer once for each connection.
    let data = noise(8, LARGE);
    let pull = large(move |seen, answer| {
        if seen.earlier == 0 {
            answer
        } else {
            Answer::new(200, data.clone()).flow(answer.flow)
        }
    });
    pull.completes();
    assert!(pull.registry.sent() < 2 * LARGE as u64);
}

#[test]
fn a_registry_without_ranges_that_always_breaks_off_is_given_up() {
    let data = noise(1, 3 * MEGABYTE);
    let pull = Pull::new(
        image(),
        always(move |_, _| Answer::new(200, data.clone()).cut(2 * MEGABYTE, End::Close)),
    );
    pull.fails(&[&pull.layers[0]]);
    assert_eq!(pull.registry.count(&pull.layers[0]), 8);
}

#[test]
fn bytes_that_an_earlier_pull_left_are_not_taken_for_right() {
    let planted = "<html>who are you?</html>";
    let content = image();
    let layer = content.layers[0].clone();
    let data = noise(1, 3 * MEGABYTE);
    let pull = Pull::new(content, move |seen, answer| {
        if !seen.path.ends_with(&layer) {
            return answer;
        }
        match seen.earlier {
            0 => {
                let mut answer = Answer::new(200, planted);
                answer.headers.clear();
                answer
            }
            // Neither the rest nor all of it.
            1 | 2 => Answer::new(403, ""),
            _ => Answer::new(200, data.clone()),
        }
    });
    pull.fails(&["403"]);
    pull.completes();
    pull.user.run(&["store", "verify"]).succeeded();
}

/// Answers a request for a range with its first bytes only, and says so.
fn shortened(seen: &Seen, answer: Answer, length: usize) -> Answer {
    match seen.range(LARGE) {
        Some(range) if range.len() > length => {
            let value = format!("bytes {}-{}/{LARGE}", range.start, range.start + length - 1);
            answer
                .cut(length, End::Close)
                .header("Content-Range", value)
                .header("Content-Length", length.to_string())
        }
        _ => answer,
    }
}

#[test]
fn a_range_that_is_shorter_than_asked_for_is_taken() {
    large(|seen, answer| shortened(seen, answer, MEGABYTE)).completes();
    // Not if it is so short that others would never end.
    for length in [1, 64 << 10] {
        let pull = large(move |seen, answer| shortened(seen, answer, length));
        pull.completes();
        // Each of eight connections may have asked for one, and for the whole.
        let tries = pull.registry.count(&pull.layers[0]);
        assert!(tries <= 16, "{length}: {tries}");
    }
}

#[test]
fn wrong_bytes_in_one_range_are_found_out() {
    let pull = large(|_, mut answer| {
        answer.body[0] ^= 1;
        answer
    });
    pull.fails(&[&pull.layers[0], "digest"]);
}

#[test]
fn credentials_stay_behind_at_a_redirect() {
    let data = noise(1, 3 * MEGABYTE);
    let storage = Faulty::start(Content::default(), move |_, _| {
        Answer::new(200, data.clone())
    });
    let target = format!("http://{}/signed?key=value", storage.host());
    let layer = digest(&noise(1, 3 * MEGABYTE));
    let pull = Pull::new(image(), move |seen, answer| {
        if !seen.headers.contains_key("authorization") {
            return Answer::new(401, "{}").header("WWW-Authenticate", "Basic realm=\"tests\"");
        }
        if seen.path.ends_with(&layer) {
            return Answer::new(307, "").header("Location", target.clone());
        }
        answer
    });
    std::fs::create_dir(pull.user.path(".docker")).expect("can be made");
    let config = json!({"auths": {pull.registry.host(): {"auth": "dGVzdGVyOnNlY3JldA=="}}});
    std::fs::write(pull.user.path(".docker/config.json"), config.to_string())
        .expect("can be written");
    pull.completes();
    assert!(!storage.seen().is_empty());
    assert!(
        storage
            .seen()
            .iter()
            .all(|seen| !seen.headers.contains_key("authorization"))
    );
}

#[test]
fn who_answered_is_who_is_named() {
    for (status, page) in [
        (
            403,
            "<?xml version=\"1.0\"?><Error><Code>ExpiredToken</Code>\n<Message>no \u{1b}[2Jway</Message></Error>",
        ),
        (
            404,
            "<html><head><title>Not Found</title></head><body>gone</body></html>",
        ),
    ] {
        let storage = Faulty::start(Content::default(), move |_, _| Answer::new(status, page));
        let target = format!("http://{}/signed?key=hidden", storage.host());
        let pull = Pull::new(
            image(),
            always(move |_, _| Answer::new(307, "").header("Location", target.clone())),
        );
        let ran = pull.run_with(&[]);
        for wrong in ["docker login", "repository's name", "hidden", "\u{1b}", "<"] {
            assert!(!ran.stderr.contains(wrong), "{}", ran.stderr);
        }
        let said = ["ExpiredToken no \\u{1b}[2Jway", "Not Found gone"][usize::from(status - 403)];
        ran.failed(&[&storage.host(), &status.to_string(), said]);
    }
}

#[test]
fn a_page_in_the_place_of_a_manifest_is_told() {
    let page = "<html><title>Welcome</title>\n<p>log in to the \u{202e}network</html>";
    let portal = Faulty::start(Content::default(), move |_, _| {
        Answer::new(200, page).header("Content-Type", "text/html")
    });
    let image = format!("{}/image:latest", portal.host());
    let ran = new_user().run(&["resolve", &image]);
    let said = format!(
        "what {} sent is no JSON: Welcome log in to the \\u{{202e}}network",
        portal.host()
    );
    ran.failed(&[&image, &said]);
    let digest = format!("{}/image@{}", portal.host(), digest(b"another"));
    let ran = new_user().run(&["pull", &digest, "--output", "out"]);
    ran.failed(&[&digest, &said]);
}

/// What a proxy has changed is nobody's image.
#[test]
fn a_tags_manifest_that_is_not_the_one_that_is_told_is_not_resolved() {
    let other = digest(b"another");
    let told = format!(
        "has the digest {}, and not {other}, as its Docker-Content-Digest says; if that comes again",
        image().digest
    );
    for (status, header, told) in [
        (200, &*other, Some(&*told)),
        (200, &*image().digest, None),
        (200, "sha256:00", None),
        (206, &*image().digest, Some("sent a part (206) where all")),
        (
            203,
            &*image().digest,
            Some("203 Non Authoritative Information, which is what a proxy"),
        ),
    ] {
        let header = header.to_owned();
        let registry = Faulty::start(image(), move |seen, mut answer| {
            if seen.path.contains("/manifests/") {
                answer = image().answer_to(&image().digest);
                answer.status = status;
                answer
                    .headers
                    .retain(|(name, _)| name != "Docker-Content-Digest");
                answer = answer.header("Docker-Content-Digest", &*header);
            }
            answer
        });
        let image = format!("{}/app", registry.host());
        let ran = new_user().run(&["resolve", &format!("{image}:1")]);
        let pull = [
            "pull",
            &format!("{image}@{}", self::image().digest),
            "--output",
            "out",
        ];
        let pulled = new_user().run(&pull);
        match told {
            None => {
                ran.succeeded();
            }
            Some(told) => ran.failed(&["tag 1: ", &registry.host(), told]),
        }
        match told.filter(|_| status != 200) {
            None => {
                pulled.succeeded();
            }
            Some(told) => pulled.failed(&["manifest sha256:", &registry.host(), told]),
        }
    }
}

#[test]
fn a_redirect_loop_ends() {
    let pull = Pull::new(
        image(),
        always(|seen, _| Answer::new(307, "").header("Location", seen.path.clone())),
    );
    pull.fails(&[&pull.layers[0], "redirect"]);
    // It follows 10.
    assert_eq!(pull.registry.count(&pull.layers[0]), 1 + 10);
}

/// It is shown as far as it holds nobody's login or signature, and moves nothing on a terminal.
#[test]
fn a_redirect_that_cannot_be_followed_is_shown() {
    for (location, shown) in [
        ("file:///etc/passwd", "\"file:///etc/passwd\""),
        ("http://[::1/", "\"http://[::1/\""),
        ("http://a b/", "\"http://a b/\""),
        ("ftp://me:hunter2@a/?s=ignature", "\"ftp://…@a/?…\""),
        ("ftp://a/\u{202e}", "\"ftp://a/\\u{202e}\""),
    ] {
        let told = format!("Redirect; it leads to {shown}, which cannot be followed");
        let pull = Pull::new(
            image(),
            always(move |_, _| Answer::new(307, "").header("Location", location)),
        );
        let ran = pull.run_with(&[]);
        for hidden in ["hunter2", "ignature", "\u{202e}"] {
            assert!(!ran.stderr.contains(hidden), "{}", ran.stderr);
        }
        ran.failed(&[&pull.registry.host(), &told, " has to mend it"]);
        assert_eq!(pull.registry.count(&pull.layers[0]), 1);
    }
}

/// Nobody may send a part unasked (RFC 9110, 15.3.7), be it one that never ends.
#[test]
fn a_part_where_all_was_asked_for_is_not_taken() {
    for range in [None, Some("bytes 0-99/3145728"), Some("bytes 5-99/3145728")] {
        let pull = Pull::new(
            image(),
            always(move |_, answer| {
                let part = Answer::new(206, &answer.body[..100]);
                match range {
                    Some(range) => part.header("Content-Range", range),
                    None => part,
                }
            }),
        );
        pull.fails(&["sent a part (206) where all was asked for"]);
        assert_eq!(pull.registry.count(&pull.layers[0]), 1);
    }
    // All of it is no part, whatever it is called.
    Pull::new(
        image(),
        always(|_, mut answer| {
            answer.status = 206;
            let last = answer.body.len() - 1;
            let range = format!("bytes 0-{last}/{}", last + 1);
            answer.header("Content-Range", range)
        }),
    )
    .completes();
}

fn with_root(media_type: &str, data: impl Into<Vec<u8>>) -> Pull {
    Pull::new(
        Content::default().with_root(media_type, data.into()),
        |_, answer| answer,
    )
}

#[test]
fn manifests_that_are_not_what_was_asked_for() {
    let pull = Pull::new(image(), |seen, mut answer| {
        if seen.path.contains("/manifests/") {
            answer.body.push(b'\n');
            let length = answer.body.len().to_string();
            answer = answer.header("Content-Length", length);
        }
        answer
    });
    pull.fails(&["digest"]);

    with_root(
        MANIFEST,
        format!("{{\"layers\": []{}}}", " ".repeat(5 * MEGABYTE)),
    )
    .fails(&["4194304"]);
    with_root(MANIFEST, "[".repeat(1000)).fails(&["JSON"]);
    with_root(MANIFEST, "not JSON").fails(&["JSON"]);
}

fn manifest_with(layer: &Value) -> Pull {
    let content = Content::default().finish(std::slice::from_ref(layer));
    Pull::new(content, |_, answer| answer)
}

#[test]
fn descriptors_that_cannot_be() {
    let good = digest(b"x");
    for (size, told) in [
        (json!(-1), "the number -1"),
        (json!(1e30), "the number 1e+30"),
        (json!(1_u64 << 63), "the number 9223372036854775808"),
        (json!("5"), "the text \"5\""),
        (Value::Null, "null"),
    ] {
        let told = format!("there is {told} where a size in bytes should be");
        manifest_with(&json!({"mediaType": LAYER, "digest": good, "size": size})).fails(&[&told]);
    }
    manifest_with(&json!({"mediaType": LAYER, "digest": good})).fails(&["size"]);
    for digest in [
        "sha256:../../x",
        "md5:d41d8cd98f00b204e9800998ecf8427e",
        "sha256:abc",
        "",
        "../../etc/passwd",
    ] {
        manifest_with(&json!({"mediaType": LAYER, "digest": digest, "size": 1})).fails(&["digest"]);
    }
}

#[test]
fn an_index_that_seems_to_hold_itself() {
    // A registry cannot forge this; it can only lie about the bytes, and that is seen.
    let outer = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [
        {"mediaType": INDEX, "digest": digest(b"inner"), "size": 5},
    ]})
    .to_string();
    let root = digest(outer.as_bytes());
    let inner = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [
        {"mediaType": INDEX, "digest": root, "size": outer.len()},
    ]})
    .to_string();
    let pull = Pull::new(
        Content::default().with_root(INDEX, outer.into_bytes()),
        move |seen, answer| {
            if seen.path.ends_with(&digest(b"inner")) {
                Answer::new(200, inner.clone()).header("Content-Type", INDEX)
            } else {
                answer
            }
        },
    );
    pull.fails(&[&digest(b"inner")]);
}

#[test]
fn an_index_of_ten_thousand_manifests() {
    let entry =
        |n: u32| json!({"mediaType": MANIFEST, "digest": digest(&n.to_le_bytes()), "size": 100});
    let manifests: Vec<_> = (0..10_000).map(entry).collect();
    with_root(
        INDEX,
        json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}).to_string(),
    )
    .fails(&["not whole there: push it again"]);
}

#[test]
fn a_config_that_is_none() {
    let mut content = Content::default();
    let config = content.add(
        "application/vnd.oci.image.config.v1+json",
        b"not a config".to_vec(),
    );
    let manifest =
        json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": []});
    let content = content.with_root(MANIFEST, manifest.to_string().into_bytes());
    Pull::new(content, |_, answer| answer).fails(&["config"]);
}

#[test]
fn a_name_that_does_not_resolve() {
    let user = new_user();
    let reference = format!("registry.invalid/app@{}", digest(b""));
    user.run(&["pull", &reference, "--output", "out"])
        .failed(&["registry.invalid"]);
}

#[test]
fn a_proxy_that_fails() {
    let user = new_user();
    let reference = format!("registry.invalid/app@{}", digest(b""));
    let proxy = [("HTTPS_PROXY", "http://127.0.0.1:1")];
    user.run_with(&proxy, &["pull", &reference, "--output", "out"])
        .failed(&["registry.invalid", "refused", "the proxy 127.0.0.1:1"]);
    for (variable, scheme) in [
        ("ALL_PROXY", "socks5h"),
        ("HTTPS_PROXY", "socks4a"),
        ("HTTP_PROXY", "http"),
    ] {
        let nobody = Deaf::new();
        let proxy = format!("{scheme}://{}", nobody.host());
        let mut pull = vec!["pull", &reference, "--output", "out"];
        if variable == "HTTP_PROXY" {
            pull.extend(["--plain-http", "registry.invalid"]);
        }
        let named = format!("registry.invalid: through the proxy {}", nobody.host());
        user.run_with(&[(variable, &proxy)], &pull)
            .failed(&[&named, "NO_PROXY"]);
    }
}
