//! The target `amqp-methods` as a libFuzzer program.
#![no_main]

use std::alloc::System;

use cap::Cap;

/// Far more than any input may make the target allocate, libFuzzer's own memory apart.
const ALLOCATED_BYTES_MAX: usize = 512 << 20;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, ALLOCATED_BYTES_MAX);

libfuzzer_sys::fuzz_target!(|data: &[u8]| annals_fuzz::amqp_methods::run(data));
