//! How the program shows a registry, or its token service, who is asking.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use oci_pull_all_support::{
    Answer, Content, Deaf, End, Faulty, Flow, Identity, Mounts, Proxy, Ran, Seen, User, blobs,
    digest, gzip, noise, skip,
};
use serde_json::{Value, json};

use crate::new_user;

/// `tester:secret`.
const BASIC: &str = "Basic dGVzdGVyOnNlY3JldA==";

fn image() -> Content {
    Content::image(&[noise(1, 1000), noise(2, 1000)])
}

/// A registry, and what it answers instead of the right thing, where it knows its own name.
fn registry(
    content: Content,
    hook: impl Fn(&Seen, &str) -> Option<Answer> + Send + Sync + 'static,
) -> Faulty {
    let name: Arc<OnceLock<String>> = Arc::default();
    let own = Arc::clone(&name);
    let registry = Faulty::start(content, move |seen, answer| {
        hook(seen, own.get().expect("set before any request")).unwrap_or(answer)
    });
    name.set(registry.host()).expect("set once");
    registry
}

fn shown(seen: &Seen) -> &str {
    seen.headers.get("authorization").map_or("", String::as_str)
}

fn refusal(status: u16, challenges: &[String]) -> Answer {
    let mut answer = Answer::new(status, r#"{"errors":[{"code":"UNAUTHORIZED"}]}"#);
    for challenge in challenges {
        let header = ("WWW-Authenticate".to_owned(), challenge.clone());
        answer.headers.push(header);
    }
    answer
}

fn bearer(host: &str) -> String {
    format!("Bearer realm=\"http://{host}/token\",service=\"tests\"")
}

/// A token for who shows the password.
fn good_token(seen: &Seen) -> Answer {
    if shown(seen) == BASIC {
        Answer::new(200, json!({"token": "good"}).to_string())
    } else {
        Answer::new(401, json!({"details": "incorrect"}).to_string())
    }
}

/// A user with the password for a registry.
fn with_login(host: &str) -> User {
    let user = new_user();
    write_login(
        &user,
        &json!({"auths": {host: {"auth": &BASIC["Basic ".len()..]}}}),
    );
    user
}

fn write_login(user: &User, config: &Value) {
    fs::create_dir_all(user.path(".docker")).expect("can be made");
    fs::write(user.path(".docker/config.json"), config.to_string()).expect("can be written");
}

fn pull_as(user: &User, host: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Ran {
    let reference = format!("{host}/team/app@{}", image().digest);
    let pull = ["pull", &reference, "--output", "out"];
    user.run_with(environment, &[&pull, arguments].concat())
}

fn pull(user: &User, host: &str) -> Ran {
    pull_as(user, host, &[], &[])
}

fn completes(registry: &Faulty) {
    let user = with_login(&registry.host());
    pull(&user, &registry.host()).succeeded();
    assert_eq!(blobs(&user.path("out")).len(), 4);
    let user = with_login(&registry.host());
    let name = format!("{}/team/app@{}", registry.host(), image().digest);
    user.run(&["resolve", &name]).succeeded();
}

/// What is asked of a repository, and not of `/v2/`, decides.
#[test]
fn the_challenge_in_hand_is_met() {
    let of_support = |host: &str| {
        [
            Answer::new(200, "{}"),
            Answer::new(404, "<html>"),
            Answer::new(403, ""),
            refusal(
                401,
                &[format!(
                    "Bearer realm=\"http://{host}/other\",service=\"other\""
                )],
            ),
        ]
    };
    for case in 0..4 {
        completes(&registry(image(), move |seen, host| {
            if seen.path == "/v2/" {
                return Some(of_support(host)[case].clone());
            }
            assert!(!seen.path.starts_with("/other"), "/v2/ is not believed");
            if seen.path.starts_with("/token") {
                return Some(good_token(seen));
            }
            (shown(seen) != "Bearer good").then(|| refusal(401, &[bearer(host)]))
        }));
        completes(&registry(image(), move |seen, host| {
            if seen.path == "/v2/" {
                return Some(of_support(host)[case].clone());
            }
            (shown(seen) != BASIC).then(|| refusal(401, &["Basic realm=\"r\"".to_owned()]))
        }));
    }
}

/// Headers as RFC 9110 permits them, and several of them.
#[test]
fn challenges_in_any_form_are_understood() {
    for form in [
        &["Basic realm=\"x\"", "Bearer realm=\"{}\",service=\"tests\""][..],
        &["Basic realm=\"x\", Bearer realm=\"{}\", service=\"tests\""],
        &["Negotiate YWJj==, bEARER  Service = tests , REALM = \"{}\""],
        &[
            "Digest realm=\"Bearer realm=\\\"no\\\", x\", qop=auth,,Bearer realm=\"{}\" ,service=\"te\\sts\"",
        ],
        &[
            "Custom \"broken",
            "Bearer service=\"no realm\"",
            "Bearer realm={},service=tests",
        ],
    ] {
        let registry = registry(image(), move |seen, host| {
            if seen.path.starts_with("/token") {
                assert!(seen.path.contains("service=tests"), "{}", seen.path);
                return Some(good_token(seen));
            }
            let realm = format!("http://{host}/token");
            let challenges: Vec<_> = form.iter().map(|form| form.replace("{}", &realm)).collect();
            (shown(seen) != "Bearer good").then(|| refusal(401, &challenges))
        });
        completes(&registry);
    }
}

/// A proxy that rewrites paths: the registry behind it calls the repository by another name.
#[test]
fn the_scope_of_the_challenge_is_asked_for_too() {
    completes(&registry(image(), move |seen, host| {
        if seen.path.starts_with("/token") {
            let wanted = "scope=repository%3Alibrary%2Fapp%3Apull";
            let answer = good_token(seen);
            return Some(if seen.path.contains(wanted) {
                answer
            } else {
                Answer::new(200, r#"{"token": "narrow"}"#)
            });
        }
        let challenge = format!("{},scope=\"repository:library/app:pull\"", bearer(host));
        (shown(seen) != "Bearer good").then(|| refusal(401, &[challenge]))
    }));
    // Who refuses the name that it does not know gets its own alone.
    completes(&registry(image(), move |seen, host| {
        if seen.path.starts_with("/token") {
            return Some(if seen.path.contains("team%2Fapp") {
                Answer::new(403, "{}")
            } else {
                good_token(seen)
            });
        }
        let challenge = format!("{},scope=\"repository:library/app:pull\"", bearer(host));
        (shown(seen) != "Bearer good").then(|| refusal(401, &[challenge]))
    }));
}

#[test]
fn who_hides_what_it_wants_is_shown_the_credential() {
    // A bare 401, of which `/v2/` says nothing either.
    completes(&registry(image(), move |seen, _| {
        (seen.path != "/v2/" && shown(seen) != BASIC).then(|| refusal(401, &[]))
    }));
    // A status without a challenge, where only `/v2/` has one.
    for status in [401, 403, 404] {
        completes(&registry(image(), move |seen, host| {
            if seen.path.starts_with("/token") {
                return Some(good_token(seen));
            }
            if seen.path == "/v2/" {
                return Some(refusal(401, &[bearer(host)]));
            }
            (shown(seen) != "Bearer good").then(|| refusal(status, &[]))
        }));
    }
}

/// `/v2/` is busy when it is asked what the repository does not say.
#[test]
fn a_challenge_that_is_late_is_met() {
    completes(&registry(image(), move |seen, host| {
        if seen.path.starts_with("/token") {
            return Some(good_token(seen));
        }
        if seen.path == "/v2/" {
            return Some(match seen.earlier {
                0 => Answer::new(503, "").header("Retry-After", "0"),
                1 => Answer::none(End::Reset),
                _ => refusal(401, &[bearer(host)]),
            });
        }
        (shown(seen) != "Bearer good").then(|| refusal(404, &[]))
    }));
}

/// Of two challenges, the stronger one names a token service that must not be asked.
#[test]
fn the_strongest_challenge_that_can_be_met_is() {
    for realm in [
        "https://169.254.169.254/token",
        "ftp://tokens.test/",
        "/token",
    ] {
        completes(&registry(image(), move |seen, _| {
            let challenges = [
                format!("Bearer realm=\"{realm}\""),
                "Basic realm=\"r\"".to_owned(),
            ];
            (shown(seen) != BASIC).then(|| refusal(401, &challenges))
        }));
    }
}

/// A token service that is down or busy is waited for, and then another way is tried that is offered.
#[test]
fn a_weaker_challenge_is_met_where_the_token_service_is_down() {
    let gone = Deaf::new().host();
    for down in ["busy", "gone"] {
        for other in ["Basic realm=\"r\"", "Bearer realm=\"http://HOST/token\""] {
            let gone = gone.clone();
            completes(&registry(image(), move |seen, host| {
                if seen.path.starts_with("/token") {
                    return Some(good_token(seen));
                }
                if seen.path.starts_with("/busy") {
                    return Some(Answer::new(503, "").header("Retry-After", "0"));
                }
                let first = match down {
                    "busy" => format!("Bearer realm=\"http://{host}/busy\""),
                    _ => format!("Bearer realm=\"http://{gone}/token\""),
                };
                let challenges = [first, other.replace("HOST", host)];
                let is_fine = [BASIC, "Bearer good"].contains(&shown(seen));
                (!is_fine).then(|| refusal(401, &challenges))
            }));
        }
    }
    // One that recovers is not given up for what does not serve.
    completes(&registry(image(), move |seen, host| {
        if seen.path.starts_with("/token") && seen.earlier < 2 {
            return Some(Answer::new(503, "").header("Retry-After", "0"));
        }
        if seen.path.starts_with("/token") {
            return Some(good_token(seen));
        }
        let challenges = [bearer(host), "Basic realm=\"r\"".to_owned()];
        (shown(seen) != "Bearer good").then(|| refusal(401, &challenges))
    }));
}

/// A login in what a registry says, or a signature, is shown to nobody, whatever it is that is wrong with it.
#[test]
fn no_secret_is_shown_of_what_a_registry_names() {
    for (realm, told) in [
        ("http://x:hunter2@HOST/token", "\"http://…@HOST/token\""),
        (
            "http://hunter2@HOST/token?a=hunter2",
            "\"http://…@HOST/token?…\"",
        ),
        ("ftp://HOST/token?a=hunter2", "\"ftp://HOST/token?…\""),
        ("https://x:hun ter2@HOST", "…@HOST"),
        ("x:hunter2@HOST/token", "\"…@HOST/token\""),
        ("http://x:hunter2@169.254.169.254/", "169.254.169.254"),
        ("/token?hunter2", "\"/token?…\""),
        ("nowhere", "\"nowhere\""),
    ] {
        for status in [401, 403] {
            let registry = registry(image(), move |_, host| {
                let realm = realm.replace("HOST", host);
                Some(refusal(status, &[format!("Bearer realm=\"{realm}\"")]))
            });
            let host = registry.host();
            for user in [new_user(), with_login(&host)] {
                let ran = pull(&user, &host);
                assert!(!ran.stderr.contains("ter2"), "{}", ran.stderr);
                let told = told.replace("HOST", &host);
                ran.failed(&[&host, "token service that cannot be asked", &told]);
            }
            assert_eq!(registry.count("/token"), 0);
        }
    }
    for told in [
        "Custom realm=\"https://x:hunter2@h.test/?hunter2\"",
        "Custom realm=\"x:hun ter2@h.test\"",
        "Custom realm=https://x:hunter2@h.test/, b=c",
    ] {
        let body = json!({"errors": [{"code": "DENIED", "message": format!("see {told}")}]});
        let registry = registry(image(), move |_, _| {
            let answer = Answer::new(401, body.to_string());
            Some(answer.header("WWW-Authenticate", told))
        });
        let ran = pull(&new_user(), &registry.host());
        assert!(!ran.stderr.contains("ter2"), "{}", ran.stderr);
        ran.failed(&["Custom realm=", "…@h.test"]);
    }
}

/// What a token service sends where a token should be may be one, in whatever form.
#[test]
fn nothing_is_shown_of_what_may_be_a_token() {
    for (status, body, told) in [
        (200, "eyJh.hunter2.x", "is no JSON (text/x-token, 14 bytes)"),
        (200, "access_token=hunter2&expires_in=300", "is no JSON"),
        (200, "<pre>token: hunter2</pre>", "is no JSON"),
        (200, "\"hunter2\"", "no object"),
        (200, "{\"token\":\"hunter2\",}", "not valid JSON"),
        (302, "token=hunter2", "answered 302"),
        (401, "<b>hunter2</b>", "answered 401"),
        (403, "{\"token\":\"hunter2\"}", "answered 403"),
        (403, "\"hunter2\"", "answered 403"),
        (418, "hunter2", "answered 418"),
        (401, "{\"error\":\"invalid_grant\"}", ": invalid_grant"),
        (
            403,
            "{\"errors\":[{\"code\":\"DENIED\",\"message\":\"no\"}]}",
            ": DENIED no",
        ),
    ] {
        let registry = registry(image(), move |seen, host| {
            Some(if seen.path.starts_with("/token") {
                Answer::new(status, body).header("Content-Type", "text/x-token")
            } else {
                refusal(401, &[bearer(host)])
            })
        });
        let ran = pull(&with_login(&registry.host()), &registry.host());
        assert!(!ran.stderr.contains("hunter2"), "{}", ran.stderr);
        ran.failed(&["token service", told]);
    }
}

/// Whoever is sent a login, a token or a signed query may repeat it.
#[test]
fn no_secret_of_a_request_is_shown_of_its_answer() {
    const SECRETS: [&str; 5] = [
        "dGVzdGVyOnNlY3JldA",
        "secret",
        "tokhunter2",
        "sighunter2",
        "sig/hunter=2",
    ];
    let wants = [
        |_: &str| "Basic realm=\"r\"".to_owned(),
        |host: &str| bearer(host),
    ];
    for want in wants {
        let registry = registry(image(), move |seen, host| {
            let shown = shown(seen);
            if seen.path.starts_with("/token") {
                return Some(Answer::new(200, json!({"token": "tokhunter2"}).to_string()));
            }
            let body = json!({"errors": [{"code": "DENIED", "message": format!("no way for {shown} tester:secret, {}", seen.path)}]});
            Some(match shown {
                "" => refusal(401, &[want(host)]),
                // A service that has a page, and one that asks again.
                _ => Answer::new(403, body.to_string())
                    .header("WWW-Authenticate", format!("Custom x=\"{shown}\"")),
            })
        });
        let ran = pull(&with_login(&registry.host()), &registry.host());
        let basic = shown_by(&registry).starts_with("Basic");
        for secret in SECRETS
            .iter()
            .filter(|secret| basic || !secret.starts_with('s'))
        {
            assert!(!ran.stderr.contains(secret), "{secret}: {}", ran.stderr);
        }
        ran.failed(&["DENIED no way for"]);
    }
    let coded = Faulty::start(image(), |seen, _| match shown(seen) {
        "" => refusal(401, &["Basic realm=\"r\"".to_owned()]),
        _ => Answer::new(200, "{}").header("Content-Encoding", "secret"),
    });
    let told = format!("what {} sent is encoded (…)", coded.host());
    pull(&with_login(&coded.host()), &coded.host()).failed(&[&told]);
    let query = "X-Amz-Signature=sighunter2&x=sig%2Fhunter%3D2";
    for body in [
        format!("Cannot GET /b?{query}"),
        format!("Cannot GET /b?{}", query.replace('&', "&amp;")),
        format!("query: {query}"),
        "<Error><SignatureProvided>sighunter2</SignatureProvided> sig/hunter=2</Error>".to_owned(),
    ] {
        let layer = image().layers[0].clone();
        let registry = registry(image(), move |seen, _| {
            if seen.path.starts_with("/b?") {
                return Some(Answer::new(403, &*body));
            }
            let location = format!("/b?{query}");
            let moved = Answer::new(307, "").header("Location", location);
            seen.path.ends_with(&layer).then_some(moved)
        });
        let ran = pull(&new_user(), &registry.host());
        for secret in SECRETS {
            assert!(!ran.stderr.contains(secret), "{secret}: {}", ran.stderr);
        }
        ran.failed(&["403"]);
    }
}

/// A page, a log in an error, and what escapes each has for what is in it.
#[test]
fn no_password_is_shown_however_an_answer_writes_it() {
    const PASSWORD: &str = "hunt  \"er\\&<'b>/%41:@#+ü\tend1";
    let each = |escape: &dyn Fn(char) -> String| PASSWORD.chars().map(escape).collect::<String>();
    let page = |quote: &str, apostrophe: &str| {
        each(&|c| match c {
            '&' => "&amp;".to_owned(),
            '<' => "&lt;".to_owned(),
            '>' => "&gt;".to_owned(),
            '"' => quote.to_owned(),
            '\'' => apostrophe.to_owned(),
            'ü' => "&uuml;".to_owned(),
            c => c.to_string(),
        })
    };
    let percent = |space: &str| {
        let bytes = PASSWORD.bytes().map(|byte| match byte {
            b' ' => space.to_owned(),
            byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
            byte => format!("%{byte:02x}"),
        });
        bytes.collect::<String>()
    };
    let numeric = each(&|c| format!("&#{};", u32::from(c)));
    let in_words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let login = STANDARD.encode(format!("tester:{PASSWORD}"));
    let json = |text: &str| json!({"errors": [{"code": "DENIED", "message": text}]}).to_string();
    let forms = [
        PASSWORD.to_owned(),
        in_words(PASSWORD),
        PASSWORD.replace("  ", "\n  "),
        page("&#34;", "&#39;").replace("hunt", "hu<wbr>nt"),
        PASSWORD.replace('ü', "\u{fffd}"),
        PASSWORD.to_uppercase(),
        page("&#34;", "&#39;"),
        page("&quot;", "&#x27;"),
        page("&QUOT;", "&apos;"),
        in_words(&page("&quot;", "&#X27;")),
        numeric,
        each(&|c| format!("&#x{:X};", u32::from(c))),
        percent("%20"),
        percent("+"),
        percent("%20").replace('%', "%25"),
        json!({"password": PASSWORD}).to_string(),
        json!({"log": json!({"password": PASSWORD}).to_string()}).to_string(),
        json!(PASSWORD)
            .to_string()
            .replace('ü', "\\u00fc")
            .replace('<', "\\u003c"),
        json!(page("&#34;", "&#39;")).to_string(),
        login.clone(),
        login.trim_end_matches('=').to_owned(),
        URL_SAFE.encode(format!("tester:{PASSWORD}")),
        login[..40].to_owned() + "\n" + &login[40..],
        STANDARD.encode(PASSWORD),
    ];
    for form in forms {
        for body in [
            format!("no \"{form}\" way"),
            format!("<html><p>no {form} way</p></html>"),
            json(&format!("no {form} way")),
        ] {
            let registry = Faulty::start(image(), move |seen, _| match shown(seen) {
                "" => refusal(401, &["Basic realm=\"r\"".to_owned()]),
                _ => Answer::new(403, &*body),
            });
            let user = new_user();
            let auth = STANDARD.encode(format!("tester:{PASSWORD}"));
            write_login(&user, &json!({"auths": {registry.host(): {"auth": auth}}}));
            let ran = pull(&user, &registry.host());
            for part in [
                "hu",
                "HU",
                "end1",
                "&#",
                "%68",
                &login[..20],
                &STANDARD.encode(PASSWORD)[..8],
            ] {
                assert!(!ran.stderr.contains(part), "{form}: {}", ran.stderr);
            }
            ran.failed(&["refused access (403", "no "]);
        }
    }
}

fn shown_by(registry: &Faulty) -> String {
    let seen = registry.seen();
    let last = seen
        .iter()
        .rfind(|seen| !shown(seen).is_empty() && !seen.path.starts_with("/token"));
    last.map(|seen| shown(seen).to_owned()).unwrap_or_default()
}

/// Its token service is of no use, and another way is offered.
#[test]
fn a_weaker_challenge_is_met_where_no_token_is_to_be_had() {
    for (status, answer) in [(404, "<html>"), (401, "{}"), (200, "{}"), (200, "<html>")] {
        completes(&registry(image(), move |seen, host| {
            if seen.path.starts_with("/token") {
                return Some(Answer::new(status, answer));
            }
            let challenges = [bearer(host), "Basic realm=\"r\"".to_owned()];
            (shown(seen) != BASIC).then(|| refusal(401, &challenges))
        }));
    }
}

#[test]
fn a_challenge_that_is_not_understood_is_shown_to_who_has_no_login() {
    let registry = registry(image(), move |seen, _| {
        (seen.path != "/v2/").then(|| refusal(401, &["Negotiate abc==".to_owned()]))
    });
    pull(&new_user(), &registry.host()).failed(&["is not understood here (Negotiate abc==)"]);
}

#[test]
fn a_challenge_without_end_is_shown_in_part() {
    let registry = registry(image(), move |seen, _| {
        let challenge = format!("Custom x=\"{}\u{9b}31m\"", "y".repeat(5000));
        (seen.path != "/v2/").then(|| refusal(401, &[challenge]))
    });
    let ran = pull(&with_login(&registry.host()), &registry.host());
    assert!(ran.stderr.len() < 2000, "{}", ran.stderr);
    ran.failed(&["were not shown", "Custom x=\"yyy"]);
}

#[test]
fn no_credential_is_called_wrong_that_was_not_shown() {
    let cases: [(u16, &[&str]); 3] = [
        (403, &[]),
        (401, &["Negotiate abc=="]),
        (401, &["Bearer service=\"no realm\""]),
    ];
    for (status, challenges) in cases {
        let registry = registry(image(), move |seen, _| {
            let challenges: Vec<_> = challenges.iter().map(ToString::to_string).collect();
            (seen.path != "/v2/").then(|| refusal(status, &challenges))
        });
        let ran = pull(&with_login(&registry.host()), &registry.host());
        assert!(registry.seen().iter().all(|seen| shown(seen).is_empty()));
        for wrong in ["do not serve for team/app", "do not permit"] {
            assert!(!ran.stderr.contains(wrong), "{}", ran.stderr);
        }
        let challenge = challenges.first().copied().unwrap_or_default();
        ran.failed(&["were not shown", challenge]);
    }
}

#[test]
fn a_token_comes_in_any_form() {
    for answer in [
        r#"{"token": "good"}"#,
        r#"{"access_token": "good"}"#,
        r#"{"token": "good", "access_token": "good", "expires_in": 300, "issued_at": "2026-01-01T00:00:00Z"}"#,
        r#"{"token": "", "access_token": "good", "expires_in": "300"}"#,
        r#"{"token": null, "access_token": "good", "expires_in": 3.5e2}"#,
        r#"{"token": "good", "access_token": null, "expires_in": null}"#,
        r#"{"token": "good", "access_token": "", "expires_in": -1, "issued_at": 0}"#,
        r#"{"token": "good", "expires_in": 1e400, "more": "\ud800"}"#,
        &format!(
            r#"{{"token": "good", "more": {}{}}}"#,
            "[".repeat(200),
            "]".repeat(200)
        ),
    ] {
        let answer = answer.to_owned();
        let content = image();
        completes(&registry(content, move |seen, host| {
            if seen.path.starts_with("/token") {
                return Some(Answer::new(200, answer.clone()));
            }
            (shown(seen) != "Bearer good").then(|| refusal(401, &[bearer(host)]))
        }));
    }
    for (answer, why) in [
        (r#"{"expires_in": 300}"#, "access_token"),
        (r#"{"token": ""}"#, "access_token"),
        (r#"{"token": "a\r\nb"}"#, "access_token"),
        ("<html>busy", "is no JSON (of no media type, 10 bytes)"),
        (r#"["token"]"#, "is JSON, but no object"),
        ("\u{feff}{\"token\": \"good\"}", "byte order mark"),
        (r#"{"token": "go"#, "ends early"),
        (r#"{"token": "\ud800"}"#, "access_token"),
        (
            r#"{"token": "good", "\ud800": 1}"#,
            "is not valid JSON: see line 1",
        ),
    ] {
        let registry = registry(image(), move |seen, host| {
            if seen.path.starts_with("/token") {
                return Some(Answer::new(200, answer));
            }
            Some(refusal(401, &[bearer(host)]))
        });
        let ran = pull(&with_login(&registry.host()), &registry.host());
        assert!(!ran.stderr.contains("docker login"), "{}", ran.stderr);
        let sent = format!("what the token service {} sent", registry.host());
        ran.failed(&[&sent, why]);
    }
}

#[test]
fn a_token_of_another_length_than_said_is_taken() {
    let registry = registry(image(), move |seen, host| {
        if seen.path.starts_with("/token") {
            let token = Answer::new(200, r#"{"token": "good"}"#);
            return Some(token.header("Content-Length", "1000"));
        }
        (shown(seen) != "Bearer good").then(|| refusal(401, &[bearer(host)]))
    });
    pull(&new_user(), &registry.host()).succeeded();
    let asked = registry.seen();
    let asked = asked.iter().filter(|seen| seen.path.starts_with("/token"));
    assert_eq!(asked.count(), 1);
}

#[test]
fn a_token_service_that_is_busy_is_asked_again() {
    type Busy = fn() -> Answer;
    let cases: [Busy; 6] = [
        || Answer::new(408, ""),
        || Answer::new(429, r#"{"detail": "too many"}"#).header("Retry-After", "1"),
        || Answer::new(500, ""),
        || Answer::new(502, "<html>busy</html>"),
        || Answer::new(503, "").header("Retry-After", "0"),
        || Answer::none(End::Reset),
    ];
    for busy in cases {
        for command in ["pull", "resolve"] {
            let tried: Arc<std::sync::atomic::AtomicUsize> = Arc::default();
            let registry = registry(image(), move |seen, host| {
                if seen.path.starts_with("/token") {
                    let first = tried.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0;
                    return Some(if first { busy() } else { good_token(seen) });
                }
                (shown(seen) != "Bearer good").then(|| refusal(401, &[bearer(host)]))
            });
            let user = with_login(&registry.host());
            let name = format!("{}/team/app@{}", registry.host(), image().digest);
            let output: &[&str] = if command == "pull" {
                &["--output", "out"]
            } else {
                &[]
            };
            user.run(&[&[command, &name], output].concat()).succeeded();
        }
    }
}

/// Over TLS, with a login; what a token service in clear, to which the user has clear text spoken, saw, and what was said.
fn tls_with_realm(config: &Value, hook: fn(&str, &str) -> Answer) -> (Vec<Seen>, Ran) {
    let plain = Faulty::start(Content::default(), |_, _| {
        Answer::new(200, r#"{"token": "good"}"#)
    });
    let identity = Identity::new();
    let elsewhere = plain.host();
    let named = elsewhere.clone();
    let name: Arc<OnceLock<String>> = Arc::default();
    let own = Arc::clone(&name);
    let registry = Faulty::start_tls(&identity, image(), move |seen, _| {
        let own = own.get().expect("set before any request");
        if seen.path.starts_with("/token") {
            let location = format!("http://{elsewhere}/token");
            return Answer::new(307, "").header("Location", location);
        }
        hook(own, &elsewhere)
    });
    name.set(registry.host()).expect("set once");
    let user = new_user();
    let config = config.to_string().replace("HOST", &registry.host());
    fs::write(user.path("config.json"), config).expect("can be written");
    let certificate = identity.certificate().display().to_string();
    let ran = pull_as(
        &user,
        &registry.host(),
        &["--docker-config", "config.json", "--plain-http", &named],
        &[("SSL_CERT_FILE", &certificate)],
    );
    assert!(!ran.stderr.contains("--plain-http"), "{}", ran.stderr);
    let own = format!("token: {} has it go on", registry.host());
    let by_whom = ran.stderr.contains(&own) || ran.stderr.contains("redirects to");
    assert!(by_whom, "{}", ran.stderr);
    (plain.seen(), ran)
}

#[test]
fn a_login_goes_out_in_clear_to_nobody() {
    for config in [
        json!({"auths": {"HOST": {"auth": &BASIC["Basic ".len()..]}}}),
        json!({"auths": {"https://HOST": {"auth": &BASIC["Basic ".len()..]}}}),
        json!({"auths": {"HOST": {"identitytoken": "identity"}}}),
    ] {
        let (seen, ran) =
            tls_with_realm(&config, |_, elsewhere| refusal(401, &[bearer(elsewhere)]));
        assert!(seen.is_empty(), "{seen:?}");
        ran.failed(&["token", "which is no https URL"]);

        let (seen, ran) = tls_with_realm(&config, |own, _| {
            refusal(401, &[format!("Bearer realm=\"https://{own}/token\"")])
        });
        assert!(seen.is_empty(), "{seen:?}");
        ran.failed(&["redirects to"]);
    }
}

#[test]
fn a_token_request_is_not_redirected_to_another_host() {
    let elsewhere = Faulty::start(Content::default(), |_, _| {
        Answer::new(200, r#"{"token": "good"}"#)
    });
    let target = elsewhere.host();
    let redirecting = registry(image(), move |seen, host| {
        if seen.path.starts_with("/token") {
            let location = format!("http://{target}{}", seen.path);
            return Some(Answer::new(307, "").header("Location", location));
        }
        (shown(seen) != "Bearer good").then(|| refusal(401, &[bearer(host)]))
    });
    pull(&with_login(&redirecting.host()), &redirecting.host())
        .failed(&["redirects to", &elsewhere.host()]);
    assert!(elsewhere.seen().is_empty());
    for (scheme, told) in [
        ("https", "redirects to \"https://127.0.0.1:"),
        ("http", "redirects more than 10 times"),
    ] {
        let turning = registry(image(), move |seen, host| {
            if seen.path.starts_with("/token") {
                let location = format!("{scheme}://{host}/token");
                return Some(Answer::new(307, "").header("Location", location));
            }
            Some(refusal(401, &[bearer(host)]))
        });
        pull(&with_login(&turning.host()), &turning.host()).failed(&[told]);
    }

    // Within the service, it is.
    completes(&registry(image(), move |seen, host| {
        if seen.path.starts_with("/token") {
            let location = seen.path.replacen("/token", "/other", 1);
            return Some(Answer::new(307, "").header("Location", location));
        }
        if seen.path.starts_with("/other") {
            assert_eq!(seen.path.matches("scope=").count(), 1, "{}", seen.path);
            return Some(good_token(seen));
        }
        (shown(seen) != "Bearer good").then(|| refusal(401, &[bearer(host)]))
    }));
}

/// A registry in clear that has moved to where TLS is spoken, which may be its own host and port.
#[test]
fn a_login_is_not_shown_where_a_redirect_leads() {
    let (identity, there) = (Identity::new(), Arc::<OnceLock<String>>::default());
    let realm = Arc::clone(&there);
    let secure = Faulty::start_tls(&identity, image(), move |_, _| {
        refusal(
            401,
            &[bearer(realm.get().expect("set before any request")).replace("http:", "https:")],
        )
    });
    there.set(secure.host()).expect("set once");
    let target = secure.host();
    let plain = Faulty::start(image(), move |seen, _| {
        let path = seen.path.rsplit_once("/v2/").map_or("", |(_, path)| path);
        let host = if seen.path.starts_with("http://") {
            target.replace("127.0.0.1", "registry.test")
        } else {
            target.clone()
        };
        Answer::new(308, "").header("Location", format!("https://{host}/v2/{path}"))
    });
    let certificate = identity.certificate().display().to_string();
    let (clear, tunnel) = (format!("http://{}", plain.host()), Proxy::start().url());
    let proxies = [("HTTP_PROXY", &*clear), ("HTTPS_PROXY", &*tunnel)];
    let far = secure.host().replace("127.0.0.1", "registry.test");
    for (host, target, proxies) in [
        (plain.host(), secure.host(), &[][..]),
        (far.clone(), far, &proxies),
    ] {
        let environment = [&[("SSL_CERT_FILE", &*certificate)], proxies].concat();
        let user = with_login(&host);
        let ran = pull_as(&user, &host, &["--plain-http", &host], &environment);
        assert!(!ran.stderr.contains("docker login"), "{}", ran.stderr);
        let told =
            format!("http://{host} redirects to https://{target}, which refused access (401");
        ran.failed(&[&told, "without plain_http = True"]);
    }
    let seen = [plain.seen(), secure.seen()].concat();
    assert!(seen.iter().all(|seen| shown(seen).is_empty()));
    assert!(seen.iter().all(|seen| !seen.path.starts_with("/token")));
}

/// Who is led out and back is nobody to the registry, as who comes from a URL of the image.
#[test]
fn a_login_is_not_shown_nor_told_of_behind_a_redirect_out_and_back() {
    let home: Arc<OnceLock<String>> = Arc::default();
    let out = Faulty::start(Content::default(), {
        let home = Arc::clone(&home);
        move |_, _| {
            let home = home.get().expect("set before any request");
            Answer::new(307, "").header("Location", format!("http://{home}/v2/back"))
        }
    });
    let there = out.host();
    let layer = noise(3, 1000);
    let foreign = json!({
        "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "digest": digest(&layer), "size": layer.len(), "urls": [format!("http://{there}/layer")],
    });
    let content = Content::default().finish(&[foreign]);
    let root = content.digest.clone();
    let status = Arc::new(AtomicU16::new(0));
    let answers = Arc::clone(&status);
    let own = Arc::new(AtomicBool::new(false));
    let leads = Arc::clone(&own);
    let registry = Faulty::start(content, move |seen, answer| {
        if seen.path == "/v2/back" {
            let challenge = "Basic realm=\"tests\"";
            return Answer::new(answers.load(Ordering::Relaxed), "not so")
                .header("Retry-After", "9999")
                .header("WWW-Authenticate", challenge);
        }
        if shown(seen).is_empty() {
            return refusal(401, &["Basic realm=\"tests\"".to_owned()]);
        }
        if leads.load(Ordering::Relaxed) {
            return Answer::new(307, "").header("Location", format!("http://{there}/"));
        }
        answer
    });
    home.set(registry.host()).expect("set once");
    let host = registry.host();
    for (from_registry, code, told) in [
        (
            false,
            401,
            format!("{host} answered 401 Unauthorized: not so"),
        ),
        (false, 403, format!("{host} answered 403 Forbidden: not so")),
        (false, 404, format!("{host} answered 404 Not Found: not so")),
        (
            false,
            429,
            format!("{host} answered 429 Too Many Requests: not so; wait"),
        ),
        (
            true,
            401,
            format!(
                "http://{host} redirects elsewhere and back to http://{host}, which refused access (401"
            ),
        ),
        (true, 403, format!("{host} answered 403 Forbidden: not so")),
        (true, 404, format!("{host} answered 404 Not Found: not so")),
        (
            true,
            429,
            format!("{host} answered 429 Too Many Requests: not so; wait"),
        ),
    ] {
        own.store(from_registry, Ordering::Relaxed);
        status.store(code, Ordering::Relaxed);
        let reference = format!("{host}/team/app@{root}");
        let ran = with_login(&host).run(&["pull", &reference, "--output", "out"]);
        assert!(!ran.stderr.contains("log in"), "{}", ran.stderr);
        ran.failed(&[&told]);
    }
    let seen = registry.seen();
    let mut back = seen.iter().filter(|seen| seen.path == "/v2/back");
    assert!(back.all(|seen| shown(seen).is_empty()));
    assert_eq!(registry.count("/v2/back"), 8, "each is final");
    assert!(out.seen().iter().all(|seen| shown(seen).is_empty()));
}

/// A storage service whose signature does not hold any more is no registry.
#[test]
fn a_refusal_of_a_storage_service_is_told_as_it_is() {
    let storage = Faulty::start(Content::default(), |_, _| Answer::new(401, "expired"));
    let there = storage.host();
    let registry = registry(image(), move |seen, _| {
        let location = format!("http://{there}/bucket/blob?signature=x");
        let is_blob = seen.path.contains("/blobs/");
        is_blob.then(|| Answer::new(307, "").header("Location", location))
    });
    let ran = pull(&with_login(&registry.host()), &registry.host());
    assert!(!ran.stderr.contains("name the image by"), "{}", ran.stderr);
    ran.failed(&[&format!(
        "{} answered 401 Unauthorized: expired",
        storage.host()
    )]);
}

/// What a registry forbids, it says why, whatever its token service says.
#[test]
fn who_forbids_says_why() {
    let registry = registry(image(), move |seen, host| {
        if seen.path.starts_with("/token") {
            return Some(Answer::new(401, r#"{"details": "not here"}"#));
        }
        let said = r#"{"errors":[{"code":"DENIED","message":"quota exceeded"}]}"#;
        Some(Answer::new(403, said).header("WWW-Authenticate", bearer(host)))
    });
    pull(&with_login(&registry.host()), &registry.host()).failed(&[
        "(403 Forbidden): DENIED quota exceeded; what it asks for is not to be had",
        "log in again with",
        "401 Unauthorized: not here",
    ]);
}

/// The same where the token service is busy at first.
#[test]
fn who_forbids_says_why_though_its_token_service_was_busy() {
    for status in [429, 503] {
        let registry = registry(image(), move |seen, host| {
            if seen.path.starts_with("/token") {
                let refused = Answer::new(401, r#"{"details": "not here"}"#);
                let busy = Answer::new(status, "busy").header("Retry-After", "0");
                return Some([busy, refused][seen.earlier.min(1)].clone());
            }
            let said = r#"{"errors":[{"code":"DENIED","message":"quota exceeded"}]}"#;
            Some(Answer::new(403, said).header("WWW-Authenticate", bearer(host)))
        });
        pull(&with_login(&registry.host()), &registry.host()).failed(&[
            "(403 Forbidden): DENIED quota exceeded; what it asks for is not to be had",
            "401 Unauthorized: not here",
        ]);
    }
}

/// A network where one has to log in first (RFC 6585, 6).
#[test]
fn a_network_that_answers_for_the_token_service_is_told_as_one() {
    let registry = registry(image(), |seen, host| {
        let is_token = seen.path.starts_with("/token");
        Some(if is_token {
            Answer::new(511, "<b>the inn</b>")
        } else {
            refusal(401, &[bearer(host)])
        })
    });
    let ran = pull(&with_login(&registry.host()), &registry.host());
    assert!(!ran.stderr.contains("to be mended"), "{}", ran.stderr);
    ran.failed(&[
        "the inn",
        "the network on the way wants a login: log in there first",
    ]);
}

#[test]
fn a_login_in_another_encoding_is_told_as_that() {
    let registry = registry(image(), |_, _| Some(refusal(401, &["Basic".to_owned()])));
    let user = new_user();
    for (auth, told) in [
        (&b"tester:h\xfcnter2"[..], "for HOST that is no UTF-8"),
        (b"hunter2", "has a malformed entry for HOST: log in again"),
    ] {
        let auth = json!({"auths": {registry.host(): {"auth": STANDARD.encode(auth)}}});
        write_login(&user, &auth);
        let ran = pull(&user, &registry.host());
        assert!(!ran.stderr.contains("nter2"), "{}", ran.stderr);
        ran.failed(&["config.json", &told.replace("HOST", &registry.host())]);
    }
}

/// A login under an `https://` URL, as some tools file it.
#[test]
fn a_login_that_is_for_tls_alone_is_told_of_where_none_is_spoken() {
    let bare = |_: &Seen, _: &str| Some(refusal(401, &[]));
    let by_token = |seen: &Seen, host: &str| {
        let is_token = seen.path.starts_with("/token");
        let challenges = [bearer(host)];
        Some(refusal(401, if is_token { &[] } else { &challenges }))
    };
    for registry in [registry(image(), bare), registry(image(), by_token)] {
        let host = registry.host();
        let user = with_login(&format!("https://{host}"));
        pull(&user, &host).failed(&[&format!(
            "the login for https://{host} is shown with TLS alone, and {host} is spoken to without: speak TLS with it, or file the login under {host} without https://"
        )]);
        assert!(registry.seen().iter().all(|seen| shown(seen).is_empty()));
    }
}

/// Whatever is wrong with what it asks for.
#[test]
fn who_forbids_is_told_with_why_its_challenge_is_not_met() {
    for (realm, token, why) in [
        (None, Answer::new(200, "{}"), "neither a \"token\""),
        (None, Answer::new(200, "<b>x</b>"), "is no JSON ("),
        (
            None,
            Answer::new(200, "cut").header("Content-Encoding", "gzip"),
            "is no whole gzip",
        ),
        (None, Answer::new(404, ""), "answered 404"),
        (
            Some("http://reg.invalid/token"),
            Answer::new(404, ""),
            "is not an https URL",
        ),
    ] {
        let registry = registry(image(), move |seen, host| {
            if seen.path.starts_with("/token") {
                return Some(token.clone());
            }
            let said = r#"{"errors":[{"code":"DENIED","message":"quota exceeded"}]}"#;
            let challenge = realm.map(|realm| format!("Bearer realm=\"{realm}\""));
            let challenge = challenge.unwrap_or_else(|| bearer(host));
            Some(Answer::new(403, said).header("WWW-Authenticate", challenge))
        });
        let ran = pull(&with_login(&registry.host()), &registry.host());
        for wrong in ["were not shown", "ask its owner"] {
            assert!(!ran.stderr.contains(wrong), "{}", ran.stderr);
        }
        ran.failed(&[
            "(403 Forbidden): DENIED quota exceeded; what it asks for is not to be had",
            why,
        ]);
    }
}

#[test]
fn what_a_registry_names_does_not_lead_to_a_clouds_metadata() {
    for realm in [
        "https://169.254.169.254/latest",
        "https://[fd00:ec2::254]/latest",
        "https://[::ffff:a9fe:a9fe]/",
        "https://2852039166/",
        "https://100.100.100.200/latest",
        // Whatever is spoken there, and wherever the user permits that to be in clear.
        "http://169.254.169.254/token",
    ] {
        let registry = registry(image(), move |_, _| {
            Some(refusal(401, &[format!("Bearer realm=\"{realm}\"")]))
        });
        let host = registry.host();
        let plain = ["--plain-http", "169.254.169.254"];
        for arguments in [&[][..], &plain] {
            let ran = pull_as(&with_login(&host), &host, arguments, &[]);
            assert!(!ran.stderr.contains("--plain-http"), "{}", ran.stderr);
            let told = format!("where {host} is not: it is not followed");
            ran.failed(&[
                "token",
                "leads to an address of this machine or its link",
                &told,
            ]);
        }
    }
    let layer = noise(3, 5000);
    let descriptor = json!({
        "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "digest": digest(&layer),
        "size": layer.len(),
        "urls": ["https://169.254.169.254/layer"],
    });
    let content = Content::default().finish(&[descriptor]);
    let name = content.digest.clone();
    let registry = registry(content, |_, _| None);
    let reference = format!("{}/app@{name}", registry.host());
    new_user()
        .run(&["pull", &reference, "--output", "out"])
        .failed(&[
            "https://169.254.169.254/layer",
            "is not followed; who made the image, or who runs the host that it names, has to mend it",
        ]);
}

/// A registry whose answers redirect this kind of request to a cloud's metadata service.
#[test]
fn a_redirect_does_not_lead_to_a_clouds_metadata() {
    for kind in ["/manifests/", "/blobs/"] {
        for location in [
            "http://169.254.169.254/latest",
            "http://[::ffff:a9fe:a9fe]/",
            "https://2852039166/",
        ] {
            let registry = registry(image(), move |seen, _| {
                let redirect = Answer::new(307, "").header("Location", location);
                seen.path.contains(kind).then_some(redirect)
            });
            let ran = pull(&new_user(), &registry.host());
            ran.failed(&["leads to an address of this machine or its link"]);
            let asked = registry.seen();
            let asked = asked.iter().filter(|seen| seen.path.contains(kind));
            assert!(asked.count() <= 3, "it is final");
        }
    }
}

/// That the user names somebody on this machine says nothing of the others there.
#[test]
fn a_proxy_on_this_machine_opens_no_other_port_of_it() {
    let identity = Identity::new();
    let elsewhere = Faulty::start_tls(&identity, image(), |_, _| {
        Answer::new(200, json!({"token": "good"}).to_string())
    });
    let proxy = Proxy::start().url();
    let certificate = identity.certificate().display().to_string();
    let there = format!("https://{}/secret", elsewhere.host());
    let layer = noise(3, 5000);
    let descriptor = json!({
        "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "digest": digest(&layer),
        "size": layer.len(),
        "urls": [&there],
    });
    for kind in ["token", "/manifests/", "/blobs/", "urls"] {
        let content = match kind {
            "urls" => Content::default().finish(std::slice::from_ref(&descriptor)),
            _ => image(),
        };
        let digest = content.digest.clone();
        let there = there.clone();
        let registry = Faulty::start_tls(&identity, content, move |seen, answer| match kind {
            "token" => refusal(401, &[format!("Bearer realm=\"{there}\"")]),
            kind if seen.path.contains(kind) => Answer::new(307, "").header("Location", &*there),
            _ => answer,
        });
        let far = registry.host().replace("127.0.0.1", "registry.test");
        let reference = format!("{far}/team/app@{digest}");
        let pull = ["pull", &reference, "--output", "out"];
        for (variable, plain) in [
            ("HTTPS_PROXY", "other.test"),
            ("HTTPS_PROXY", "127.0.0.1:1"),
            ("ALL_PROXY", "localhost:1"),
        ] {
            let environment = [("SSL_CERT_FILE", &*certificate), (variable, &*proxy)];
            let plain = ["--plain-http", plain];
            let ran = with_login(&far).run_with(&environment, &[&pull[..], &plain].concat());
            ran.failed(&["is not followed"]);
        }
    }
    assert!(elsewhere.seen().is_empty());
}

/// Where the system lets a process have its own view of files, it may have its own names.
#[test]
fn the_address_of_a_name_counts() {
    let user = new_user();
    fs::write(user.path("hosts"), "169.254.169.254 tokens.test\n").expect("can be written");
    let Some(mounts) = Mounts::or_skip() else {
        return;
    };
    let hosts = format!("mount --bind {} /etc/hosts", user.path("hosts").display());
    let mut probe = mounts.within(&hosts);
    let probe = probe.args(["getent", "hosts", "tokens.test"]).output();
    if !probe.is_ok_and(|ran| ran.status.success()) {
        return skip("this system has its names elsewhere");
    }
    for scheme in ["https", "http"] {
        let registry = registry(image(), move |_, _| {
            let realm = format!("Bearer realm=\"{scheme}://tokens.test/\"");
            Some(refusal(401, &[realm]))
        });
        let reference = format!("{}/team/app@{}", registry.host(), image().digest);
        let pull = ["pull", &reference, "--output", "out"];
        let plain: &[&str] = match scheme {
            "http" => &["--plain-http", "tokens.test"],
            _ => &[],
        };
        let ran = user.run_by(mounts.within(&hosts), &[&pull[..], plain].concat());
        assert!(!ran.stderr.contains("check the network"), "{}", ran.stderr);
        ran.failed(&[
            "token",
            &format!(
                "\"{scheme}://tokens.test/?…\" leads to an address of this machine or its link, where {} is not: it is not followed; if that comes again",
                registry.host()
            ),
        ]);
    }
}

#[test]
fn where_a_redirect_comes_from_is_not_told() {
    let content = image();
    let answers = content.clone();
    let storage = Faulty::start(content, move |seen, _| {
        answers.answer_to(seen.path.rsplit('/').next().unwrap_or_default())
    });
    let target = storage.host();
    let registry = registry(image(), move |seen, _| {
        let location = format!("http://{target}{}", seen.path);
        (seen.path.contains("/blobs/")).then(|| Answer::new(307, "").header("Location", location))
    });
    pull(&new_user(), &registry.host()).succeeded();
    assert!(!storage.seen().is_empty());
    assert!(
        storage
            .seen()
            .iter()
            .all(|seen| !seen.headers.contains_key("referer"))
    );
}

#[test]
fn small_answers_have_limits_of_size_and_time() {
    let large = registry(image(), move |seen, host| {
        if seen.path.starts_with("/token") {
            let mut answer = Answer::new(200, vec![b' '; (1 << 20) + 1]);
            answer.headers.clear();
            return Some(answer);
        }
        Some(refusal(401, &[bearer(host)]))
    });
    pull(&with_login(&large.host()), &large.host()).failed(&["token", "1048576"]);
    let bomb = registry(image(), move |seen, host| {
        if seen.path.starts_with("/token") {
            let token = Answer::new(200, gzip(&vec![b' '; 30 << 20]));
            return Some(token.header("Content-Encoding", "gzip"));
        }
        Some(refusal(401, &[bearer(host)]))
    });
    pull(&with_login(&bomb.host()), &bomb.host()).failed(&["token", "more than", "1048576"]);

    // It is never silent, and never ends.
    let dripping = registry(image(), move |seen, host| {
        if seen.path.starts_with("/token") && seen.earlier == 0 {
            let answer = Answer::new(200, vec![b' '; 1 << 20]);
            return Some(answer.flow(Flow::paced(Duration::from_millis(100))));
        }
        if seen.path.starts_with("/token") {
            return Some(good_token(seen));
        }
        (shown(seen) != "Bearer good").then(|| refusal(401, &[bearer(host)]))
    });
    let user = with_login(&dripping.host());
    pull_as(&user, &dripping.host(), &["--idle-timeout", "1"], &[]).succeeded();
    let dripping = registry(image(), move |seen, _| {
        (seen.path.contains("/manifests/") && seen.earlier == 0).then(|| {
            let mut answer = Answer::new(200, vec![b' '; 3 << 20]);
            answer.headers.clear();
            answer.flow(Flow::paced(Duration::from_millis(100)))
        })
    });
    let user = new_user();
    pull_as(&user, &dripping.host(), &["--idle-timeout", "1"], &[]).succeeded();
}

#[test]
fn a_helper_says_why_on_stderr() {
    let registry = registry(image(), move |seen, _| {
        (shown(seen) != BASIC).then(|| refusal(401, &["Basic realm=\"r\"".to_owned()]))
    });
    let host = registry.host();
    let user = new_user();
    write_login(&user, &json!({"credHelpers": {&host: "cloud"}}));
    let path = format!("{}:/usr/bin:/bin", user.home().display());
    let with_helper = |script: &str| {
        user.write_script(
            "docker-credential-cloud",
            &format!("cat >/dev/null\n{script}"),
        );
        pull_as(&user, &host, &[], &[("PATH", &path)])
    };
    with_helper("printf 'reauthenticate:\\033[2J run: cloud login' >&2; exit 1").failed(&[
        "docker-credential-cloud",
        "reauthenticate:",
        "run: cloud login",
        "\\u{1b}",
    ]);
    // However much it is, and even if something that it started goes on.
    with_helper("head -c 1000000 /dev/zero | tr '\\0' x >&2; exit 1").failed(&["xxxx"]);
    with_helper("sleep 30 >/dev/null & echo no >&2; exit 1").failed(&["no"]);
    // Where it writes what it holds, and some say why.
    for said in [
        r#"{"Username":"tester","Secret":"hunter2"}"#,
        r#"{"ServerURL": "r", "secret" : "not found hunter2 in this session"#,
        "warning: an update is available\n{\"Secret\":\n\"hunter2\"}",
        r#"t","Secret":"hunter2"}"#,
        "hunter2",
        "password=hunter2",
        "the password for this registry is hunter2",
        "could not log in to https://tester:hunter2@r.test/",
    ] {
        let script = format!("cat <<'END'\n{said}\nEND\nexit 1");
        let ran = with_helper(&script);
        assert!(!ran.stderr.contains("hunter2"), "{}", ran.stderr);
        ran.failed(&["the credential helper docker-credential-cloud failed for"]);
    }
    let by_hand = format!("run `echo {host} | docker-credential-cloud get` to see it");
    with_helper("echo hunter2; exit 1").failed(&[&by_hand]);
    with_helper("echo warning >&2; echo '{\"username\":\"tester\",\"SECRET\":\"secret\"}'")
        .succeeded();
}

/// Some helpers ask a login service, or a person.
#[test]
fn a_helper_is_asked_once_for_a_name() {
    for has_login in [true, false] {
        // It hides what it has.
        let registry = registry(image(), move |seen, _| {
            let basic = || refusal(401, &["Basic realm=\"r\"".to_owned()]);
            match (shown(seen) == BASIC, seen.path == "/v2/") {
                (true, _) => None,
                (false, true) => Some(basic()),
                (false, false) => Some(Answer::new(404, "")),
            }
        });
        let host = registry.host();
        let user = new_user();
        let config = json!({"credsStore": "slow"});
        write_login(&user, &config);
        fs::create_dir_all(user.path(".config/containers")).expect("can be made");
        let file = user.path(".config/containers/auth.json");
        fs::write(file, config.to_string()).expect("written");
        let answer = if has_login {
            r#"echo '{"Username":"tester","Secret":"secret"}'"#
        } else {
            "echo credentials not found; exit 1"
        };
        let asked = user.path("asked");
        let script = format!("cat >>{0}\necho >>{0}\n{answer}", asked.display());
        user.write_script("docker-credential-slow", &script);
        let path = format!("{}:/usr/bin:/bin", user.home().display());
        let ran = pull_as(&user, &host, &[], &[("PATH", &path)]);
        assert_eq!(ran.success, has_login, "{}", ran.stderr);
        let asked = fs::read_to_string(asked).expect("was asked");
        assert_eq!(asked.lines().collect::<Vec<_>>(), [host]);
    }
}

#[test]
fn podmans_own_file_is_read() {
    let registry = registry(image(), move |seen, _| {
        (shown(seen) != BASIC).then(|| refusal(401, &["Basic realm=\"r\"".to_owned()]))
    });
    let host = registry.host();
    let user = new_user();
    let login = json!({"auths": {&host: {"auth": &BASIC["Basic ".len()..]}}});
    for directory in [".config/containers", "config/containers"] {
        fs::create_dir_all(user.path(directory)).expect("can be made");
    }
    fs::write(user.path(".config/containers/auth.json"), login.to_string()).expect("written");
    // What is not there, or empty, is passed over.
    let nothing = [
        ("DOCKER_CONFIG", "/dev/null"),
        ("REGISTRY_AUTH_FILE", "/dev/null"),
    ];
    pull_as(&user, &host, &[], &nothing).succeeded();
    let config = user.path("config").display().to_string();
    fs::rename(
        user.path(".config/containers/auth.json"),
        user.path("config/containers/auth.json"),
    )
    .expect("can be moved");
    pull_as(
        &user,
        &host,
        &["--no-store"],
        &[("XDG_CONFIG_HOME", &config)],
    )
    .succeeded();
}
