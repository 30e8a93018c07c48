//! What the pages of docs/ say, followed to the letter.

mod ci;
mod demo;
mod dropin;
mod registries;
mod scanning;
mod testing;
mod troubleshooting;
