//! The journal as its users see it, on real files and on files that fail.

mod basics;
mod crash;
mod damage;
mod faults;
mod rewrite;
mod world;
