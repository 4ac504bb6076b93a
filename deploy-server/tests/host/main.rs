//! The host side against the real thing: a Docker Engine, a registry, another implementation of
//! AWS, the kernel, systemd and compose. A test whose tool is not on the machine says so and ends.

#![expect(clippy::print_stderr, reason = "a test that cannot run says why")]

mod attacks;
mod clean_files;
mod cleanup_docker;
mod cleanup_files;
mod control_socket;
mod ecr_registry;
mod ecr_token;
mod portability;
mod secrets_env_file;
mod secrets_manager;
mod secrets_readers;
mod support;
mod units;
