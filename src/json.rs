//! JSON as this program writes it.

use serde::Serialize;

/// JSON as this program writes it: the same bytes for the same value, ending in no newline.
pub fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("values of this crate have string keys only")
}
