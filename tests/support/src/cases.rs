//! The cases of one test.

use std::thread;

/// Tries all cases at once, since what each does most of its time is wait for what the program waits for.
pub fn side_by_side<C: Send>(cases: impl IntoIterator<Item = C>, test: impl Fn(C) + Sync) {
    let test = &test;
    thread::scope(|scope| {
        for case in cases {
            scope.spawn(move || test(case));
        }
    });
}
