//! What goes over the wire when an image is pushed, as the registries saw it.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use oci_pull_all_support::{
    Answer, CREDENTIALS, Content, Cutting, End, Faulty, Flow, Identity, Images, PIECE, Ran,
    Registry, Request, Seen, User, about, digest, hex, noise, pushed, side_by_side, text,
};
use serde_json::{Value, json};

use crate::new_user;

/// Has the program pull an image, which must be whole.
fn check_image(reference: &str) {
    let user = new_user();
    user.run(&["pull", reference, "--output", "layout"])
        .succeeded();
    user.run(&["verify", "layout"]).succeeded();
}

/// How often the registry got a blob whole.
fn finished(requests: &[Request], digest: &str) -> usize {
    let puts = about(requests, "PUT", digest).into_iter();
    puts.filter(|request| request.status == 201).count()
}

/// A user who has an image's manifest and config, but none of its layers, which are at `origin`.
struct Shallow {
    user: User,
    manifest: String,
    config: String,
    from: String,
}

impl Shallow {
    fn pull(origin: &str, digest: &str) -> Self {
        let user = new_user();
        let from = format!("{origin}/base");
        let reference = format!("{from}@{digest}");
        user.run(&["pull", &reference, "--shallow", "--output", "base"])
            .succeeded();
        let manifest = format!("base/blobs/sha256/{}", hex(digest));
        let bytes = fs::read(user.path(&manifest)).expect("there");
        let parsed: Value = serde_json::from_slice(&bytes).expect("JSON");
        let config = text(&parsed["config"]["digest"]);
        let root = json!({"mediaType": parsed["mediaType"], "digest": digest, "size": bytes.len()});
        fs::write(user.path("root.json"), root.to_string()).expect("can be written");
        Self {
            manifest,
            config: format!("base/blobs/sha256/{}", hex(config)),
            from,
            user,
        }
    }

    fn arguments<'a>(&'a self, target: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        let mut arguments = vec!["push", "--repository", target, "--root", "root.json"];
        arguments.extend(["--local-file", &self.manifest, "--local-file", &self.config]);
        arguments.extend(["--from", "root.json", &self.from]);
        arguments.extend(more);
        arguments
    }

    fn push(&self, target: &str, more: &[&str]) -> Ran {
        self.user.run(&self.arguments(target, more))
    }
}

#[test]
fn a_push_that_was_killed_goes_on() {
    let content = Content::image(&[noise(1, 600_000), noise(2, 300_000)]);
    let [first, second] = [content.layers[0].clone(), content.layers[1].clone()];
    let image = content.digest.clone();
    let good = Arc::new(AtomicBool::new(false));
    let (reached, second_began) = mpsc::channel();
    let reached = Mutex::new(reached);
    let origin = Faulty::start(content, {
        let (good, second) = (Arc::clone(&good), second.clone());
        move |seen: &Seen, answer: Answer| {
            if !seen.path.ends_with(&second) || good.load(Ordering::SeqCst) {
                return answer;
            }
            let reached = Mutex::new(reached.lock().expect("no thread panicked").clone());
            answer.flow(Flow::new(move |_| {
                let _ = reached.lock().expect("no thread panicked").send(());
                false
            }))
        }
    });
    let target = Registry::empty();
    let repository = format!("{}/team/app", target.host());
    let shallow = Shallow::pull(&origin.host(), &image);
    let one = ["--concurrency", "1", "--tag", "v1"];
    let mut killed = shallow.user.spawn(&shallow.arguments(&repository, &one));
    second_began
        .recv()
        .expect("the second layer is asked for, behind the first");
    killed.kill().expect("it runs");
    killed.wait().expect("it ends");

    good.store(true, Ordering::SeqCst);
    let ran = shallow.push(&repository, &one).succeeded();
    assert_eq!(pushed(&ran.stdout, &repository), image);
    assert!(ran.stderr.contains("3 blobs, 1 present"), "{}", ran.stderr);
    let requests = target.requests();
    let both = (finished(&requests, &first), finished(&requests, &second));
    assert_eq!(both, (1, 1));
    assert_eq!(origin.count(&first), 1);
    assert_eq!(target.digest("team/app", "v1"), image);
    check_image(&format!("{repository}@{image}"));
}

#[test]
fn a_connection_to_the_base_that_breaks_is_replaced() {
    let content = Content::image(&[noise(3, 20 * PIECE)]);
    let (layer, image) = (content.layers[0].clone(), content.digest.clone());
    let origin = Faulty::start(content, {
        let layer = layer.clone();
        move |seen: &Seen, answer: Answer| match seen.earlier {
            0 if seen.path.ends_with(&layer) => answer.cut(10 * PIECE, End::Close),
            _ => answer,
        }
    });
    let target = Registry::empty();
    let repository = format!("{}/team/app", target.host());
    let shallow = Shallow::pull(&origin.host(), &image);
    shallow.push(&repository, &[]).succeeded();
    let asked = origin.seen();
    let ranges: Vec<_> = asked
        .iter()
        .filter(|seen| seen.path.ends_with(&layer))
        .map(|seen| seen.range(20 * PIECE).map(|range| range.start))
        .collect();
    assert_eq!(ranges, [None, Some(10 * PIECE)]);
    assert_eq!(about(&target.requests(), "PUT", &layer).len(), 1);
    check_image(&format!("{repository}@{image}"));
}

#[test]
fn a_base_whose_ranges_are_of_no_use_passes_through() {
    type Spoil = fn(Answer) -> Answer;
    let cases: [Spoil; 4] = [
        |_| Answer::new(403, ""),
        |_| Answer::new(416, ""),
        |answer| answer.header("Content-Range", "bytes 1-2/3"),
        |mut answer| {
            answer.status = 200;
            answer.headers.clear();
            answer
        },
    ];
    for spoil in cases {
        let content = Content::image(&[noise(3, 20 * PIECE)]);
        let (layer, image) = (content.layers[0].clone(), content.digest.clone());
        let origin = Faulty::start(content, {
            let layer = layer.clone();
            move |seen: &Seen, answer: Answer| match seen.headers.get("range") {
                Some(_) => spoil(answer),
                None if seen.path.ends_with(&layer) && seen.earlier == 0 => {
                    answer.cut(10 * PIECE, End::Close)
                }
                None => answer,
            }
        });
        let target = Registry::empty();
        let repository = format!("{}/team/app", target.host());
        let shallow = Shallow::pull(&origin.host(), &image);
        shallow.push(&repository, &[]).succeeded();
        assert_eq!(origin.count(&layer), 3);
        check_image(&format!("{repository}@{image}"));
    }
}

#[test]
fn a_blob_that_is_too_long_for_one_request_is_sent_in_chunks() {
    let content = Content::image(&[noise(10, 2_500_000)]);
    let (layer, image) = (content.layers[0].clone(), content.digest.clone());
    let origin = Faulty::good(content);
    let target = Registry::admitting(1 << 20);
    let shallow = Shallow::pull(&origin.host(), &image);
    let repository = format!("{}/team/app", target.host());
    shallow.push(&repository, &[]).succeeded();
    let requests = target.requests();
    let chunks = requests
        .iter()
        .filter(|r| (r.method.as_str(), r.status) == ("PATCH", 202));
    assert_eq!(chunks.count(), 3);
    assert_eq!(finished(&requests, &layer), 1);
    check_image(&format!("{repository}@{image}"));

    let narrow = Registry::admitting(1000);
    let repository = format!("{}/team/other", narrow.host());
    shallow.push(&repository, &[]).failed(&[&layer, "413"]);
}

#[test]
fn wrong_bytes_of_a_base_are_not_pushed() {
    let content = Content::image(&[noise(4, 5 * PIECE)]);
    let (layer, image) = (content.layers[0].clone(), content.digest.clone());
    let origin = Faulty::start(content, {
        let layer = layer.clone();
        move |seen: &Seen, answer: Answer| {
            if seen.path.ends_with(&layer) {
                Answer::new(200, noise(5, 5 * PIECE))
            } else {
                answer
            }
        }
    });
    let target = Registry::empty();
    let repository = format!("{}/team/app", target.host());
    let shallow = Shallow::pull(&origin.host(), &image);
    shallow
        .push(&repository, &["--tag", "v1"])
        .failed(&["cannot push to", &origin.host(), &layer]);
    let requests = target.requests();
    let made = |request: &&Request| request.method == "PUT" && request.path.contains("/manifests/");
    assert_eq!(requests.iter().filter(made).count(), 0);
    assert!(
        about(&requests, "PUT", &layer)
            .iter()
            .all(|request| request.status != 201)
    );
}

/// A token service that answers with both names of a token, as Docker Hub's does; a push that mounts asks for two
/// scopes.
#[test]
fn a_mount_is_permitted_by_one_token_for_both_repositories() {
    let content = Content::image(&[noise(6, 200_000)]);
    let (layer, image) = (content.layers[0].clone(), content.digest.clone());
    for answer in ["token", "access_token", "both"] {
        let name: Arc<std::sync::OnceLock<String>> = Arc::default();
        let own = Arc::clone(&name);
        let registry = Faulty::start(content.clone(), {
            let layer = layer.clone();
            move |seen: &Seen, right: Answer| {
                let own = own.get().expect("set before any request");
                if let Some((_, query)) = seen.path.split_once("/token?") {
                    let token = query.replace(['%', '&', '='], "-");
                    return Answer::new(
                        200,
                        match answer {
                            "both" => json!({"token": token, "access_token": token}),
                            name => json!({name: token}),
                        }
                        .to_string(),
                    );
                }
                let shown = seen.headers.get("authorization");
                let permits = |scope: &str| shown.is_some_and(|shown| shown.contains(scope));
                if seen.path == "/v2/" {
                    return right;
                }
                let needed = if seen.path.starts_with("/v2/base/") {
                    "repository-3Abase-3Apull"
                } else {
                    "repository-3Ateam-2Fapp-3Apull-2Cpush"
                };
                if !permits(needed) {
                    let realm = format!("Bearer realm=\"http://{own}/token\",service=\"tests\"");
                    return Answer::new(401, "{}").header("WWW-Authenticate", realm);
                }
                let mounts = seen.path.contains("mount=") && seen.path.contains(hex(&layer));
                match (seen.method.as_str(), seen.path.starts_with("/v2/base/")) {
                    (_, true) => right,
                    ("POST", _) if mounts && permits("repository-3Abase-3Apull") => {
                        Answer::new(201, "").header("Location", "/v2/team/app/blobs/x")
                    }
                    ("HEAD", _) => Answer::new(404, ""),
                    ("POST", _) => Answer::new(202, "").header(
                        "Location",
                        format!("/v2/team/app/blobs/uploads/{}", seen.earlier),
                    ),
                    _ => Answer::new(201, ""),
                }
            }
        });
        name.set(registry.host()).expect("set once");
        let shallow = Shallow::pull(&registry.host(), &image);
        let repository = format!("{}/team/app", registry.host());
        let ran = shallow.push(&repository, &[]).succeeded();
        assert!(ran.stderr.contains("1 mounted"), "{answer}: {}", ran.stderr);
    }
}

/// A registry that has no room now has none later, be it for a manifest or for a blob.
#[test]
fn what_a_registry_cannot_take_is_sent_once() {
    let content = Content::image(&[noise(1, 1000)]);
    let image = content.digest.clone();
    let origin = Faulty::good(content);
    let shallow = Shallow::pull(&origin.host(), &image);
    for status in [501, 505, 507, 508] {
        for (method, place) in [
            ("PUT", "/manifests/"),
            ("POST", "/uploads/"),
            ("PUT", "digest="),
        ] {
            let images = Mutex::new(Images::default());
            let refused = move |seen: &Seen| seen.method == method && seen.path.contains(place);
            let target = Faulty::start(Content::default(), move |seen, _| {
                if refused(seen) {
                    return Answer::new(status, "no room");
                }
                images.lock().expect("no thread panicked").answer(seen)
            });
            let repository = format!("{}/team/app", target.host());
            let one = ["--concurrency", "1"];
            let ran = shallow.push(&repository, &one);
            ran.failed(&[&format!("answered {status}"), "no room"]);
            let seen = target.seen();
            let sent = seen.iter().filter(|seen| refused(seen)).count();
            assert_eq!(sent, 1, "{status} {method} {place}");
        }
    }
}

/// A registry whose tokens expire: each is good for so many requests, the POST that begins an upload included.
/// Only reading needs none. Its token service is busy every other time.
fn forgetful(requests: usize, limit: usize) -> Faulty {
    let images = Mutex::new(Images::default());
    let tokens = Mutex::new((0, 0));
    Faulty::start(Content::default(), move |seen, _| {
        let (token, used) = &mut *tokens.lock().expect("no thread panicked");
        if seen.path.starts_with("/token") && seen.earlier % 2 == 0 {
            return Answer::new(503, "").header("Retry-After", "0");
        }
        if seen.path.starts_with("/token") {
            (*token, *used) = (*token + 1, 0);
            return Answer::new(200, json!({"token": format!("t{token}")}).to_string());
        }
        let is_read = seen.method == "HEAD" || !seen.path.contains("/uploads/");
        if !is_read {
            let good = format!("Bearer t{token}");
            let shown = seen.headers.get("authorization");
            *used += 1;
            if shown != Some(&good) || *used > requests {
                let realm = format!("Bearer realm=\"http://{}/token\"", seen.headers["host"]);
                return Answer::new(401, "").header("WWW-Authenticate", realm);
            }
            if seen.body.len() > limit {
                return Answer::new(413, "");
            }
        }
        images.lock().expect("no thread panicked").answer(seen)
    })
}

#[test]
fn a_token_that_expires_within_an_upload_is_renewed() {
    let content = Content::image(&[noise(12, 5_500_000)]);
    let (layer, image) = (content.layers[0].clone(), content.digest.clone());
    let origin = Faulty::good(content);
    for limit in [usize::MAX, 1 << 20] {
        let target = forgetful(2, limit);
        let repository = format!("{}/team/app", target.host());
        let shallow = Shallow::pull(&origin.host(), &image);
        shallow
            .push(&repository, &["--concurrency", "1"])
            .succeeded();
        check_image(&format!("{repository}@{image}"));
        let requests = target.requests();
        let taken = requests
            .iter()
            .filter(|r| r.method == "PATCH" && r.status == 202);
        // Those of the layer, and that of the config.
        let chunks = if limit == usize::MAX { 0 } else { 6 + 1 };
        assert_eq!(taken.count(), chunks, "no part is sent twice");
        assert_eq!(finished(&requests, &layer), 1);
    }

    // A right that nobody has is not waited for.
    let target = forgetful(1, usize::MAX);
    let repository = format!("{}/team/app", target.host());
    let shallow = Shallow::pull(&origin.host(), &image);
    let ran = shallow.push(&repository, &["--concurrency", "1"]);
    let requests = target.requests();
    let puts = requests
        .iter()
        .filter(|r| r.method == "PUT" && r.status == 401);
    assert!(puts.count() <= 4, "{requests:?}");
    ran.failed(&["(401"]);
}

/// Writes a Docker configuration with a password for `host`.
fn log_in(path: &Path, host: &str, password: &str) {
    let auths = json!({"auths": {host: {"username": CREDENTIALS.0, "password": password}}});
    fs::write(path, auths.to_string()).expect("can be written");
}

#[test]
fn what_a_registry_refuses_is_told() {
    let content = Content::image(&[noise(6, 100)]);
    let image = content.digest.clone();
    let origin = Faulty::good(content);
    let shallow = Shallow::pull(&origin.host(), &image);
    let guarded = Registry::with_password();
    let repository = format!("{}/team/app", guarded.host());
    shallow.push(&repository, &[]).failed(&[
        &format!("cannot push to {repository}"),
        "(401",
        "no credentials were found",
        "docker login",
    ]);
    let auth = shallow.user.path("auth.json");
    log_in(&auth, guarded.host(), "wrong");
    let with_auth = ["--docker-config", "auth.json"];
    shallow.push(&repository, &with_auth).failed(&[
        "(401",
        "the credentials found for",
        "do not serve",
    ]);
    log_in(&auth, guarded.host(), CREDENTIALS.1);
    shallow
        .push(&repository, &with_auth)
        .failed(&["(405", "takes no pushes", "read-only"]);
    shallow
        .push("example.com/team/app:v1", &[])
        .failed(&["it has a tag or a digest"]);
    shallow
        .push(&repository, &["--tag", ".v1"])
        .failed(&["\".v1\" is not a tag"]);
    let root = ["push", "--repository", &repository, "--root", "root.json"];
    shallow
        .user
        .run(&root)
        .failed(&[&image, "not among the files given", "it is not said"]);
}

/// A registry that has nothing, takes nothing, and answers to `path` what `special` says.
fn target(special: impl Fn(&Seen) -> Option<Answer> + Send + Sync + 'static) -> Faulty {
    Faulty::start(Content::default(), move |seen: &Seen, answer| {
        special(seen).unwrap_or(answer)
    })
}

/// What a registry answers that has what it is asked for, and does not tell how long that is.
fn has_it(seen: &Seen) -> Answer {
    let mut answer = Answer::new(200, "");
    answer.headers.clear();
    let digest = seen.path.rsplit('/').next().unwrap_or_default();
    answer.header("Docker-Content-Digest", digest)
}

/// A registry that keeps what it gets of an upload, in however many requests it comes, and answers `told`
/// of their number who asks how many bytes that are.
fn keeping(told: fn(usize) -> Answer) -> Faulty {
    keeping_at(told, |_, number| number.to_string())
}

/// As [`keeping`], which names the locations of its host and their number so.
fn keeping_at(told: fn(usize) -> Answer, place: fn(&str, usize) -> String) -> Faulty {
    #[derive(Default)]
    struct Kept {
        uploads: Vec<Vec<u8>>,
        documents: HashMap<String, Answer>,
    }
    let kept = Mutex::new(Kept::default());
    target(move |seen| {
        let mut kept = kept.lock().expect("no thread panicked");
        let (path, query) = seen.path.split_once('?').unwrap_or((&seen.path, ""));
        let (room, name) = path.rsplit_once('/')?;
        // Each good answer leads to another location, and only the last one is right.
        let location = place(&seen.headers["host"], kept.uploads.len());
        let next = |answer: Answer| answer.header("Location", location.as_str());
        let upload = name.parse().ok().and_then(|number: usize| {
            let upload = kept.uploads.get_mut(number)?;
            Some(std::mem::take(upload))
        });
        Some(match (seen.method.as_str(), room.ends_with("/uploads")) {
            ("POST", _) => {
                kept.uploads.push(Vec::new());
                next(Answer::new(202, ""))
            }
            ("GET", true) => {
                let upload = upload?;
                let answer = next(told(upload.len()));
                kept.uploads.push(upload);
                answer
            }
            ("PATCH", true) => {
                let mut upload = upload?;
                let begin = seen.headers["content-range"].split('-').next()?.to_owned();
                if begin != upload.len().to_string() {
                    return Some(Answer::new(416, ""));
                }
                upload.extend(&seen.body);
                if seen.body.len().to_string() == seen.headers["content-length"] {
                    kept.uploads.push(upload);
                    next(Answer::new(202, ""))
                } else {
                    kept.uploads[name.parse::<usize>().ok()?] = upload;
                    Answer::new(400, "")
                }
            }
            ("PUT", true) => {
                let mut upload = upload?;
                upload.extend(&seen.body);
                let digest = digest(&upload);
                if query.ends_with(&digest.replace(':', "%3A")) {
                    kept.documents.insert(digest, Answer::new(200, upload));
                    Answer::new(201, "")
                } else {
                    let number: usize = name.parse().ok()?;
                    kept.uploads[number] = upload;
                    Answer::new(400, "")
                }
            }
            ("PUT", false) => {
                let manifest = Answer::new(200, seen.body.clone());
                let manifest = manifest.header("Content-Type", &seen.headers["content-type"]);
                kept.documents.insert(name.to_owned(), manifest);
                Answer::new(201, "")
            }
            _ => kept.documents.get(name)?.clone(),
        })
    })
}

/// What a registry that has `length` bytes of an upload says of it.
fn range(length: usize) -> Answer {
    let last = length.saturating_sub(1);
    Answer::new(204, "").header("Range", format!("0-{last}"))
}

/// Pushes an image with one layer of 8 MB to `target` by a line that breaks each time when so many bytes
/// have passed, and returns how many passed in all, and where in the layer the base's registry was asked to
/// begin.
fn push_by_a_bad_line(
    seed: u64,
    target: &str,
    local: bool,
    (each, breaks): (u64, u64),
) -> (u64, Vec<usize>) {
    let layer = noise(seed, 8_000_000);
    let content = Content::image(std::slice::from_ref(&layer));
    let (digest, image) = (content.layers[0].clone(), content.digest.clone());
    let origin = Faulty::good(content);
    let shallow = Shallow::pull(&origin.host(), &image);
    let put = format!("digest=sha256%3A{}", hex(&digest));
    let line = Cutting::before(target, &put, each, breaks);
    let repository = format!("{}/team/app", line.host());
    let mut arguments = vec!["--concurrency", "1"];
    if local {
        fs::write(shallow.user.path("layer"), &layer).expect("can be written");
        arguments.extend(["--local-file", "layer"]);
    }
    shallow.push(&repository, &arguments).succeeded();
    check_image(&format!("{target}/team/app@{image}"));
    let asked = origin.seen();
    let begins = asked
        .iter()
        .filter(|seen| seen.path.ends_with(&digest))
        .map(|seen| seen.range(layer.len()).map_or(0, |range| range.start))
        .collect();
    (line.passed(), begins)
}

#[test]
fn an_upload_that_breaks_off_goes_on_where_the_registry_has_it() {
    for local in [true, false] {
        let target = keeping(range);
        let (passed, begins) = push_by_a_bad_line(11, &target.host(), local, (5_000_000, 1));
        assert!(passed < 9_000_000, "{passed} bytes");
        match begins[..] {
            [] => assert!(local),
            // The head of the request passed as well, and a little is read again to verify the layer.
            [0, second] => assert!((3_900_000..5_000_000).contains(&second), "{second}"),
            _ => panic!("{begins:?}"),
        }
    }
}

/// However a location is written, all of it counts, and the last one alone.
#[test]
fn an_upload_goes_where_the_last_answer_says() {
    let places: [fn(&str, usize) -> String; 5] = [
        |_, number| format!("{number}?state=a%2Fb"),
        |_, number| format!("/v2/team/app/blobs/uploads/{number}?state=a%2Fb&x=%20+"),
        |_, number| format!("/elsewhere/uploads/{number}?state=a%2Fb#here"),
        |host, number| format!("http://{host}/{number}/uploads/{number}?state=a%2Fb&"),
        |host, number| format!("//{host}/uploads/{number}?state=a%2Fb"),
    ];
    for place in places {
        let target = keeping_at(range, place);
        let (passed, _) = push_by_a_bad_line(16, &target.host(), true, (5_000_000, 1));
        assert!(passed < 9_000_000, "{passed} bytes");
        let seen = target.seen();
        let sent = |method: &str| -> Vec<_> {
            let of_upload = |seen: &&Seen| seen.method == method && seen.path.contains("/uploads/");
            seen.iter()
                .filter(of_upload)
                .map(|seen| &seen.path)
                .collect()
        };
        let (asked, parts, ends) = (sent("GET"), sent("PATCH"), sent("PUT"));
        assert_eq!((asked.len(), parts.len()), (1, 1));
        for path in [asked, parts, ends].concat() {
            assert!(path.contains("?state=a%2Fb"), "{path}");
        }
    }
}

#[test]
fn an_upload_that_breaks_more_often_than_is_tried_gets_there() {
    let target = keeping(range);
    let (passed, _) = push_by_a_bad_line(14, &target.host(), true, (500_000, 12));
    assert!(passed < 9_000_000, "{passed} bytes");
}

#[test]
fn an_upload_begins_anew_where_the_registry_does_not_say_what_it_has() {
    let answers: [fn(usize) -> Answer; 7] = [
        |_| Answer::new(404, ""),
        |_| Answer::new(503, ""),
        |_| Answer::none(End::Reset),
        |_| Answer::new(204, ""),
        |_| range(0),
        |length| range(length - 1000),
        |_| range(9_000_000),
    ];
    for told in answers {
        let target = keeping(told);
        let (passed, _) = push_by_a_bad_line(12, &target.host(), true, (5_000_000, 1));
        assert!(passed > 13_000_000, "{passed} bytes");
    }
}

#[test]
fn a_chunk_that_breaks_off_is_sent_again_alone() {
    let content = Content::image(&[noise(13, 2_500_000)]);
    let (layer, image) = (content.layers[0].clone(), content.digest.clone());
    let origin = Faulty::good(content);
    let target = Registry::admitting(1 << 20);
    let line = Cutting::before(target.host(), "content-range: 1048576-", 500_000, 1);
    let shallow = Shallow::pull(&origin.host(), &image);
    let repository = format!("{}/team/app", line.host());
    shallow.push(&repository, &[]).succeeded();
    let requests = target.requests();
    let chunks = requests
        .iter()
        .filter(|r| (r.method.as_str(), r.status) == ("PATCH", 202));
    assert_eq!(chunks.count(), 3);
    assert_eq!(finished(&requests, &layer), 1);
    check_image(&format!("{}/team/app@{image}", target.host()));
}

#[test]
fn a_tag_that_cannot_be_moved_is_told_with_what_it_points_to() {
    let content = Content::image(&[noise(7, 100)]);
    let image = content.digest.clone();
    let origin = Faulty::good(content);
    let shallow = Shallow::pull(&origin.host(), &image);
    let other = format!("sha256:{}", "0".repeat(64));
    let immutable = target({
        let other = other.clone();
        move |seen| match (seen.method.as_str(), seen.path.ends_with("/manifests/v1")) {
            ("HEAD", true) => {
                Some(Answer::new(200, "").header("Docker-Content-Digest", other.as_str()))
            }
            ("HEAD", false) => Some(has_it(seen)),
            _ => {
                let body = r#"{"errors":[{"code":"TAG_INVALID","message":"it is immutable"}]}"#;
                Some(Answer::new(400, body))
            }
        }
    });
    let repository = format!("{}/team/app", immutable.host());
    shallow.push(&repository, &["--tag", "v1"]).failed(&[
        &format!("the tag v1 points to {other}"),
        "does not move it",
        "TAG_INVALID it is immutable",
    ]);
}

/// Many registries have codes of their own.
#[test]
fn a_refusal_that_is_not_about_who_asks_is_not_told_as_that() {
    let content = Content::image(&[noise(7, 100)]);
    let image = content.digest.clone();
    let origin = Faulty::good(content);
    let shallow = Shallow::pull(&origin.host(), &image);
    for (code, is_about_access) in [("DENIED", true), ("TAG_IMMUTABLE", false)] {
        let refusing = target(move |seen| match &*seen.method {
            "HEAD" if seen.path.ends_with("/manifests/v1") => Some(Answer::new(404, "")),
            "HEAD" => Some(has_it(seen)),
            _ => {
                let error = json!({"errors": [{"code": code, "message": "no"}]});
                Some(Answer::new(403, error.to_string()))
            }
        });
        let repository = format!("{}/team/app", refusing.host());
        let ran = shallow.push(&repository, &["--tag", "v1"]);
        let doubts = ran
            .stderr
            .contains("; if that is about who asks: no credentials were found");
        assert_eq!(doubts, !is_about_access, "{}", ran.stderr);
        ran.failed(&[code, "no credentials were found"]);
    }
}

#[test]
fn a_token_is_for_the_push_and_for_what_is_mounted() {
    let content = Content::image(&[noise(8, 100)]);
    let image = content.digest.clone();
    let registry = Faulty::start(content, move |seen: &Seen, answer| {
        let host = seen.headers["host"].as_str();
        if seen.path.starts_with("/token?") {
            return Answer::new(200, r#"{"token": "permit"}"#);
        }
        if seen.path.starts_with("/v2/base/") {
            return answer;
        }
        if seen.headers.get("authorization").map(String::as_str) != Some("Bearer permit") {
            let challenge = format!("Bearer realm=\"http://{host}/token\",service=\"here\"");
            return Answer::new(401, "").header("WWW-Authenticate", challenge);
        }
        match seen.method.as_str() {
            "HEAD" => Answer::new(404, ""),
            "POST" if !seen.path.contains("mount=") => {
                Answer::new(202, "").header("Location", "uploads/1")
            }
            _ => Answer::new(201, ""),
        }
    });
    let shallow = Shallow::pull(&registry.host(), &image);
    log_in(
        &shallow.user.path("auth.json"),
        &registry.host(),
        CREDENTIALS.1,
    );
    let repository = format!("{}/team/app", registry.host());
    let ran = shallow
        .push(&repository, &["--docker-config", "auth.json"])
        .succeeded();
    assert!(ran.stderr.contains("1 mounted"), "{}", ran.stderr);
    let seen = registry.seen();
    let token = seen.iter().find(|seen| seen.path.starts_with("/token?"));
    let token = token.expect("a token is asked for");
    for scope in [
        "scope=repository%3Ateam%2Fapp%3Apull%2Cpush",
        "scope=repository%3Abase%3Apull",
        "service=here",
    ] {
        assert!(token.path.contains(scope), "{}", token.path);
    }
    assert!(token.headers["authorization"].starts_with("Basic "));
    let put = seen.iter().find(|seen| seen.path.contains("/uploads/1?"));
    let config = fs::read(shallow.user.path(&shallow.config)).expect("there");
    assert_eq!(put.expect("the config is sent").body, config);
}

#[test]
fn an_upload_does_not_lead_to_a_clouds_metadata() {
    let content = Content::image(&[noise(9, 100)]);
    let image = content.digest.clone();
    let origin = Faulty::good(content);
    let shallow = Shallow::pull(&origin.host(), &image);
    let registry =
        target(
            move |seen| match (seen.method.as_str(), seen.path.contains("/blobs/")) {
                ("HEAD", _) => Some(Answer::new(404, "")),
                ("POST", true) => {
                    let location = "http://169.254.169.254/latest";
                    Some(Answer::new(202, "").header("Location", location))
                }
                _ => Some(Answer::new(201, "")),
            },
        );
    let repository = format!("{}/team/app", registry.host());
    let ran = shallow.push(&repository, &[]);
    ran.failed(&["169.254.169.254", "is not followed"]);
}

/// What a registry says of a push counts, and not what is behind a redirect.
#[test]
fn a_push_ends_well_only_if_the_registry_took_it() {
    let content = Content::image(&[noise(9, 100)]);
    let image = content.digest.clone();
    let origin = Faulty::good(content);
    let shallow = Shallow::pull(&origin.host(), &image);
    let page = Faulty::start(Content::default(), |seen, _| {
        let is_made = seen.path.starts_with("/made");
        Answer::new(if is_made { 201 } else { 200 }, "<html>")
    });
    let elsewhere = format!("http://{}/page", page.host());
    for (answer, ends) in [
        (Answer::new(201, ""), None),
        (
            Answer::new(303, "").header("Location", &*elsewhere),
            Some("answered 303"),
        ),
        (
            Answer::new(302, "").header("Location", &*elsewhere),
            Some("answered 200 OK, which does not say that it has taken it"),
        ),
        (
            Answer::new(307, "").header("Location", elsewhere.replace("page", "made")),
            Some("answered 201 Created, which does not say"),
        ),
        (Answer::new(200, "<html>"), Some("does not say")),
        (Answer::new(202, ""), Some("does not say")),
        (
            Answer::new(202, "").header("Docker-Content-Digest", &*image),
            None,
        ),
        (
            Answer::new(201, "").header("Docker-Content-Digest", digest(b"another")),
            Some("has taken it as sha256:"),
        ),
    ] {
        let elsewhere = elsewhere.clone();
        let registry = target(move |seen| {
            let path = seen.path.as_str();
            Some(match seen.method.as_str() {
                "HEAD" if path.contains("/blobs/") => {
                    Answer::new(307, "").header("Location", &*elsewhere)
                }
                "HEAD" => Answer::new(404, ""),
                "POST" => Answer::new(202, "").header("Location", "/put"),
                "PUT" if path.ends_with("/manifests/v1") => answer.clone(),
                _ => Answer::new(201, ""),
            })
        });
        let repository = format!("{}/team/app", registry.host());
        let ran = shallow.push(&repository, &["--tag", "v1"]);
        match ends {
            None => {
                ran.succeeded();
            }
            Some(told) => ran.failed(&["tag v1", told]),
        }
        let seen = registry.seen();
        let sent = seen.iter().filter(|seen| seen.path.starts_with("/put"));
        assert_eq!(sent.count(), 2, "the config and the layer");
    }
}

/// Not to know whether something is there is not to refuse it.
#[test]
fn a_registry_that_knows_no_head_takes_a_push_or_not() {
    let content = Content::image(&[noise(9, 100)]);
    let image = content.digest.clone();
    let origin = Faulty::good(content);
    let shallow = Shallow::pull(&origin.host(), &image);
    for takes in [true, false] {
        let registry = target(move |seen| {
            Some(match seen.method.as_str() {
                "PUT" => Answer::new(201, ""),
                "POST" if takes => Answer::new(202, "").header("Location", "/put"),
                _ => Answer::new(405, ""),
            })
        });
        let repository = format!("{}/team/app", registry.host());
        let ran = shallow.push(&repository, &["--tag", "v1"]);
        if takes {
            ran.succeeded();
        } else {
            ran.failed(&["(405", "takes no pushes"]);
        }
        let sent = registry.seen();
        assert!(sent.iter().any(|seen| seen.method == "POST"));
    }
}

/// Who says that it has another blob now does not have this one.
#[test]
fn a_blob_that_is_taken_as_another_one_is_not_taken() {
    let content = Content::image(&[noise(9, 100)]);
    let image = content.digest.clone();
    for mounts in [false, true] {
        for (told, fails) in [
            (digest(b"another"), true),
            ("sha256:00".to_owned(), false),
            (String::new(), false),
        ] {
            let registry = Faulty::start(content.clone(), move |seen: &Seen, answer| {
                let path = seen.path.as_str();
                let created = || Answer::new(201, "");
                let created_as = || created().header("Docker-Content-Digest", &*told);
                match seen.method.as_str() {
                    _ if path.starts_with("/v2/base/") => answer,
                    "HEAD" => Answer::new(404, ""),
                    "POST" if mounts && path.contains("mount=") => created_as(),
                    "POST" => Answer::new(202, "").header("Location", "/put"),
                    // The config is not mounted.
                    "PUT" if path.starts_with("/put") && !mounts => created_as(),
                    _ => created(),
                }
            });
            let shallow = Shallow::pull(&registry.host(), &image);
            let ran = shallow.push(&format!("{}/team/app", registry.host()), &[]);
            if fails && !mounts {
                let taken = format!("has taken it as {}", digest(b"another"));
                ran.failed(&["blob sha256:", &registry.host(), &taken]);
            } else {
                // What is not mounted is sent.
                let ran = ran.succeeded();
                let is_mounted = ran.stderr.contains("1 mounted");
                assert_eq!(is_mounted, mounts && !fails, "{}", ran.stderr);
            }
        }
    }
}

#[test]
fn an_upload_that_goes_on_nowhere_is_told_as_that() {
    let content = Content::image(&[noise(9, 100)]);
    let image = content.digest.clone();
    let origin = Faulty::good(content);
    let shallow = Shallow::pull(&origin.host(), &image);
    for location in ["ftp://127.0.0.1/put", "http://[::1/put", "file:///put"] {
        let registry = Faulty::start(Content::default(), move |seen, _| {
            match seen.method.as_str() {
                "HEAD" => Answer::new(404, ""),
                _ => Answer::new(202, "").header("Location", location),
            }
        });
        let repository = format!("{}/team/app", registry.host());
        let push = shallow.arguments(&repository, &[]);
        let ran = shallow.user.run_with(&[], &push);
        for word in ["--plain-http", "X-Forwarded-Proto"] {
            assert!(!ran.stderr.contains(word), "{}", ran.stderr);
        }
        let told = format!("{} names {location:?}, which is no http", registry.host());
        ran.failed(&[&told]);
    }
}

/// A page that is there for everything, such as that of a network, is no registry, whatever its status.
#[test]
fn a_push_to_what_is_no_registry_ends_badly() {
    let content = Content::image(&[noise(9, 100)]);
    let origin = Faulty::good(content.clone());
    let shallow = Shallow::pull(&origin.host(), &content.digest);
    let page =
        |status: u16| Answer::new(status, "<html>log in").header("Content-Type", "text/html");
    let endless = |mut answer: Answer| {
        answer.headers.retain(|(name, _)| name != "Content-Length");
        answer
    };
    for answer in [
        page(200),
        endless(page(200)),
        page(200).header("Location", "/login"),
        page(201),
        page(202),
        page(202).header("Location", "/login"),
        endless(Answer::new(204, "")),
    ] {
        for tag in [&[][..], &["--tag", "v1"]] {
            let answer = answer.clone();
            let registry = target(move |_| Some(answer.clone()));
            let repository = format!("{}/team/app", registry.host());
            shallow
                .push(&repository, tag)
                .failed(&[&registry.host(), "does not say"]);
        }
    }
}

/// What a registry that has a blob tells of it, and what of another one or of none.
#[test]
fn a_blob_is_there_if_the_answer_is_of_it() {
    let content = Content::image(&[noise(9, 100)]);
    let origin = Faulty::good(content.clone());
    let shallow = Shallow::pull(&origin.host(), &content.digest);
    let length = content
        .answer(&Seen::get(format!("/v2/base/blobs/{}", content.layers[0])))
        .body
        .len();
    let told = |length: Option<usize>, digest: Option<&str>| {
        let mut answer = Answer::new(200, "");
        answer.headers.clear();
        if let Some(length) = length {
            answer = answer.header("Content-Length", length.to_string());
        }
        match digest {
            Some(digest) => answer.header("Docker-Content-Digest", digest),
            None => answer,
        }
    };
    let (own, other) = (content.layers[0].clone(), digest(b"another"));
    for (answer, is_there) in [
        (told(Some(length), Some(&own)), true),
        (told(Some(length), None), true),
        (told(None, Some(&own)), true),
        (told(None, None), false),
        (told(Some(length + 1), None), false),
        (told(Some(length + 1), Some(&own)), false),
        (told(Some(length), Some(&other)), false),
    ] {
        let layer = own.clone();
        let registry = target(move |seen| {
            Some(match seen.method.as_str() {
                "HEAD" if seen.path.ends_with(&layer) => answer.clone(),
                "HEAD" => Answer::new(404, ""),
                "POST" => Answer::new(202, "").header("Location", "/put"),
                _ => Answer::new(201, ""),
            })
        });
        let repository = format!("{}/team/app", registry.host());
        shallow.push(&repository, &[]).succeeded();
        let seen = registry.seen();
        let sent = seen.iter().filter(|seen| seen.path.starts_with("/put"));
        assert_eq!(
            sent.count(),
            if is_there { 1 } else { 2 },
            "the config, and the layer"
        );
    }
}

/// What takes TLS away before a registry does not always tell it.
#[test]
fn an_upload_is_not_sent_in_clear() {
    let content = Content::image(&[noise(9, 100)]);
    let image = content.digest.clone();
    let origin = Faulty::good(content);
    let shallow = Shallow::pull(&origin.host(), &image);
    let identity = Identity::new();
    let registry = Faulty::start_tls(&identity, Content::default(), |seen, _| {
        match seen.method.as_str() {
            "HEAD" => Answer::new(404, ""),
            _ => Answer::new(202, "").header("Location", "http://user:hunter2@127.0.0.1/put"),
        }
    });
    let repository = format!("{}/team/app", registry.host());
    let certificate = identity.certificate().display().to_string();
    let environment = [("SSL_CERT_FILE", &*certificate)];
    let push = shallow.arguments(&repository, &[]);
    let ran = shallow.user.run_with(&environment, &push);
    for word in ["--plain-http", "hunter2"] {
        assert!(!ran.stderr.contains(word), "{}", ran.stderr);
    }
    ran.failed(&["…@127.0.0.1/put", "X-Forwarded-Proto"]);
}

#[test]
fn an_upload_is_authorized_where_its_bytes_alone_are_challenged() {
    let content = Content::image(&[noise(14, 2_500_000)]);
    let (layer, image) = (content.layers[0].clone(), content.digest.clone());
    let origin = Faulty::good(content);
    for limit in [usize::MAX, 1 << 20] {
        let shallow = Shallow::pull(&origin.host(), &image);
        let images = Mutex::new(Images::default());
        let registry = Faulty::start(Content::default(), move |seen, _| {
            let is_sent = matches!(seen.method.as_str(), "PUT" | "PATCH");
            if is_sent && seen.path.contains("/uploads/") {
                if !seen.headers.contains_key("authorization") {
                    let answer = Answer::new(401, "");
                    return answer.header("WWW-Authenticate", "Basic realm=\"here\"");
                }
                if seen.body.len() > limit {
                    return Answer::new(413, "");
                }
            }
            images.lock().expect("no thread panicked").answer(seen)
        });
        let auth = shallow.user.path("auth.json");
        log_in(&auth, &registry.host(), CREDENTIALS.1);
        let repository = format!("{}/team/app", registry.host());
        let arguments = ["--docker-config", "auth.json", "--concurrency", "1"];
        shallow.push(&repository, &arguments).succeeded();
        check_image(&format!("{repository}@{image}"));
        assert_eq!(finished(&registry.requests(), &layer), 1);
    }
}

/// The bytes of an upload alone are challenged, and the token service is busy.
#[test]
fn a_token_service_that_is_busy_is_told_of_an_upload_too() {
    let content = Content::image(&[noise(15, 3000)]);
    let image = content.digest.clone();
    let origin = Faulty::good(content);
    for busy in [2, usize::MAX] {
        let shallow = Shallow::pull(&origin.host(), &image);
        let (images, asked) = (Mutex::new(Images::default()), AtomicUsize::new(0));
        let registry = Faulty::start(Content::default(), move |seen, _| {
            if seen.path.starts_with("/token") {
                return if asked.fetch_add(1, Ordering::Relaxed) < busy {
                    Answer::new(503, "").header("Retry-After", "0")
                } else {
                    Answer::new(200, r#"{"token": "good"}"#)
                };
            }
            let is_sent = matches!(seen.method.as_str(), "PUT" | "PATCH");
            let is_upload = is_sent && seen.path.contains("/uploads/");
            if is_upload && !seen.headers.contains_key("authorization") {
                let realm = format!("Bearer realm=\"http://{}/token\"", seen.headers["host"]);
                return Answer::new(401, "").header("WWW-Authenticate", realm);
            }
            images.lock().expect("no thread panicked").answer(seen)
        });
        let repository = format!("{}/team/app", registry.host());
        let ran = shallow.push(&repository, &["--concurrency", "1"]);
        if busy == usize::MAX {
            ran.failed(&[&format!("token: {} answered 503", registry.host())]);
            let seen = registry.seen();
            let tokens = seen.iter().filter(|seen| seen.path.starts_with("/token"));
            assert!(tokens.count() <= 9, "{seen:?}");
            assert_eq!(seen.iter().filter(|seen| seen.method == "PUT").count(), 1);
        } else {
            ran.succeeded();
            check_image(&format!("{repository}@{image}"));
        }
    }
}

/// Another server of the registry may be asked than that with which an upload began.
#[test]
fn an_upload_that_is_gone_begins_anew() {
    let content = Content::image(&[noise(16, 3000)]);
    let image = content.digest.clone();
    let origin = Faulty::good(content);
    let unknown = r#"{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN","message":"no such upload"}]}"#;
    let cases = [
        (1, unknown),
        (1, ""),
        (1, "<html>not here</html>"),
        (1, r#"{"errors":[{"code":"UPLOAD_EXPIRED","message":""}]}"#),
        // Distribution's, where another server has made the upload's state.
        (
            1,
            r#"{"errors":[{"code":"BLOB_UPLOAD_INVALID","message":"invalid secret"}]}"#,
        ),
        (usize::MAX, unknown),
    ];
    side_by_side(cases, |(gone, body)| {
        let shallow = Shallow::pull(&origin.host(), &image);
        let (images, asked) = (Mutex::new(Images::default()), AtomicUsize::new(0));
        let registry = Faulty::start(Content::default(), move |seen, _| {
            let is_sent = seen.method == "PUT" && seen.path.contains("/uploads/");
            if is_sent && asked.fetch_add(1, Ordering::Relaxed) < gone {
                return Answer::new(404, body);
            }
            images.lock().expect("no thread panicked").answer(seen)
        });
        let repository = format!("{}/team/app", registry.host());
        let ran = shallow.push(&repository, &["--concurrency", "1"]);
        if gone == 1 {
            ran.succeeded();
            check_image(&format!("{repository}@{image}"));
        } else {
            ran.failed(&["does not know the upload any more", "BLOB_UPLOAD_UNKNOWN"]);
        }
    });
}

/// What the bytes of an upload are sent to may be another host, which does not know it any more either.
#[test]
fn an_upload_elsewhere_that_is_gone_begins_anew() {
    let content = Content::image(&[noise(18, 100)]);
    let image = content.digest.clone();
    let origin = Faulty::good(content);
    let shallow = Shallow::pull(&origin.host(), &image);
    let elsewhere = target(|seen| {
        let unknown = r#"{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN","message":"no such upload"}]}"#;
        let is_first = seen.path.starts_with("/first");
        Some(if is_first {
            Answer::new(404, unknown)
        } else {
            Answer::new(201, "")
        })
    });
    let (host, begun) = (elsewhere.host(), AtomicUsize::new(0));
    let registry = target(move |seen| {
        Some(
            match (seen.method.as_str(), seen.path.contains("/blobs/")) {
                ("HEAD", _) => Answer::new(404, ""),
                ("POST", true) => {
                    let is_first = begun.fetch_add(1, Ordering::Relaxed) == 0;
                    let name = if is_first { "first" } else { "other" };
                    let location = format!("http://user:hunter2@{host}/{name}");
                    Answer::new(202, "").header("Location", location)
                }
                _ => Answer::new(201, ""),
            },
        )
    });
    let repository = format!("{}/team/app", registry.host());
    let ran = shallow.push(&repository, &["--concurrency", "1"]);
    assert!(!ran.stderr.contains("hunter2"), "{}", ran.stderr);
    ran.succeeded();
    let seen = elsewhere.seen();
    let puts = seen.iter().filter(|seen| seen.method == "PUT");
    assert_eq!(
        puts.count(),
        3,
        "one that was gone, the config and the layer"
    );
    // Whom to show a login, no registry says.
    let shown = |seen: &Seen| seen.headers.contains_key("authorization");
    assert!(!seen.iter().any(shown));
}

#[test]
fn a_refusal_of_an_uploads_bytes_is_final() {
    let content = Content::image(&[noise(19, 100)]);
    let image = content.digest.clone();
    let origin = Faulty::good(content);
    let shallow = Shallow::pull(&origin.host(), &image);
    let answer = |seen: &Seen| {
        let body = r#"{"errors":[{"code":"NAME_UNKNOWN","message":"no such repo"}]}"#;
        let is_sent = seen.method == "PUT";
        is_sent.then(|| Answer::new(404, body))
    };
    for (is_own, told) in [
        (true, "has no repository team/app"),
        (false, "answered 404"),
    ] {
        let elsewhere = target(answer);
        let location = if is_own {
            "/put".to_owned()
        } else {
            format!("http://{}/put", elsewhere.host())
        };
        let registry = target(move |seen| {
            let begun = || Answer::new(202, "").header("Location", location.as_str());
            match seen.method.as_str() {
                "HEAD" => Some(Answer::new(404, "")),
                "POST" => Some(begun()),
                _ => answer(seen),
            }
        });
        let repository = format!("{}/team/app", registry.host());
        shallow
            .push(&repository, &["--concurrency", "1"])
            .failed(&[told, "NAME_UNKNOWN no such repo"]);
        let puts = [registry.seen(), elsewhere.seen()].concat();
        let puts = puts.iter().filter(|seen| seen.method == "PUT");
        assert_eq!(puts.count(), 1);
    }
}

#[test]
fn a_404_to_a_manifest_is_of_the_repository_only_where_nothing_else_is_said() {
    let content = Content::image(&[noise(19, 100)]);
    let image = content.digest.clone();
    let origin = Faulty::good(content);
    let shallow = Shallow::pull(&origin.host(), &image);
    for (code, is_of_repository) in [
        ("NAME_UNKNOWN", true),
        ("", true),
        // As some say of what is above it.
        ("NOT_FOUND", true),
        ("MANIFEST_BLOB_UNKNOWN", false),
        ("MANIFEST_UNKNOWN", false),
    ] {
        let registry = target(move |seen| {
            let is_manifest = seen.method == "PUT" && seen.path.contains("/manifests/");
            let body = match code {
                "" => "{}".to_owned(),
                code => json!({"errors": [{"code": code}]}).to_string(),
            };
            let has_blob = seen.method == "HEAD" && seen.path.contains("/blobs/");
            let answer = if is_manifest {
                Answer::new(404, body)
            } else {
                has_it(seen)
            };
            (is_manifest || has_blob).then_some(answer)
        });
        let ran = shallow.push(&format!("{}/team/app", registry.host()), &[]);
        let told = ran.stderr.contains("has no repository team/app");
        assert_eq!(told, is_of_repository, "{}", ran.stderr);
        ran.failed(&[code]);
    }
}

#[test]
fn a_refusal_where_an_upload_goes_is_told_as_it_is() {
    let content = Content::image(&[noise(17, 100)]);
    let image = content.digest.clone();
    let origin = Faulty::good(content);
    let shallow = Shallow::pull(&origin.host(), &image);
    let elsewhere = target(|_| Some(Answer::new(401, "expired")));
    let location = format!("http://{}/v2/put", elsewhere.host());
    let registry = target(move |seen| match seen.method.as_str() {
        "HEAD" => Some(Answer::new(404, "")),
        _ => Some(Answer::new(202, "").header("Location", location.as_str())),
    });
    let repository = format!("{}/team/app", registry.host());
    let ran = shallow.push(&repository, &[]);
    assert!(!ran.stderr.contains("redirects"), "{}", ran.stderr);
    ran.failed(&[&format!(
        "{} answered 401 Unauthorized: expired",
        elsewhere.host()
    )]);
}

#[test]
fn an_upload_elsewhere_gets_no_credentials() {
    let content = Content::image(&[noise(9, 100)]);
    let image = content.digest.clone();
    let origin = Faulty::good(content);
    let shallow = Shallow::pull(&origin.host(), &image);
    let elsewhere = target(|_| Some(Answer::new(201, "")));
    let location = format!("http://{}/put?state=a%2Fb", elsewhere.host());
    let registry = target(move |seen| {
        if !seen.headers.contains_key("authorization") {
            let answer = Answer::new(401, "");
            return Some(answer.header("WWW-Authenticate", "Basic realm=\"here\""));
        }
        match (seen.method.as_str(), seen.path.contains("/blobs/")) {
            ("HEAD", _) => Some(Answer::new(404, "")),
            ("POST", true) => Some(Answer::new(202, "").header("Location", location.as_str())),
            _ => Some(Answer::new(201, "")),
        }
    });
    log_in(
        &shallow.user.path("auth.json"),
        &registry.host(),
        CREDENTIALS.1,
    );
    let repository = format!("{}/team/app", registry.host());
    shallow
        .push(&repository, &["--docker-config", "auth.json"])
        .succeeded();
    let uploads = elsewhere.seen();
    assert_eq!(uploads.len(), 2, "the config and the layer");
    for upload in uploads {
        assert!(
            upload.path.starts_with("/put?state=a%2Fb&digest=sha256%3A"),
            "{}",
            upload.path
        );
        assert!(!upload.headers.contains_key("authorization"));
    }
}
