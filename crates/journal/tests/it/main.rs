//! The journal as its users see it, on real files and on files that fail.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

mod basics;
mod cluster;
mod counting;
mod crash;
mod damage;
mod faults;
mod fixture;
mod footers;
mod gone;
mod patience;
mod reuse;
mod rewrite;
mod sealing;
mod torn_index;
mod world;
