//! What the pages of docs/ say, followed to the letter.

mod ci;
mod consumers;
mod demo;
mod dropin;
mod readme;
mod registries;
mod scanners;
mod testing;
mod troubleshooting;
