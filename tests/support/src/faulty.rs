//! A small registry whose every answer a test may spoil.

use std::ops::Deref;

use crate::content::Content;
use crate::http::{Answer, Identity, Seen, Server};

/// The running registry. It ends when dropped.
#[derive(Debug)]
pub struct Faulty(Server);

impl Faulty {
    /// A registry that answers rightly.
    pub fn good(content: Content) -> Self {
        Self::start(content, |_, answer| answer)
    }

    /// A registry that answers rightly who shows a login, whatever it is.
    pub fn guarded(content: Content) -> Self {
        Self::start(content, |seen, answer| {
            if seen.headers.contains_key("authorization") {
                return answer;
            }
            Answer::new(401, "{}").header("WWW-Authenticate", "Basic realm=\"tests\"")
        })
    }

    /// A registry that answers what `spoil` makes of the right answer.
    pub fn start(
        content: Content,
        spoil: impl Fn(&Seen, Answer) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self(Server::start(None, move |seen| {
            spoil(seen, content.answer(seen))
        }))
    }

    /// As [`Faulty::start`], over TLS.
    pub fn start_tls(
        identity: &Identity,
        content: Content,
        spoil: impl Fn(&Seen, Answer) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self(Server::start(Some(identity), move |seen| {
            spoil(seen, content.answer(seen))
        }))
    }
}

impl Deref for Faulty {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.0
    }
}
