//! Shows the configuration that it was given, as variables and as files.
//!
//! A secret is not shown, only its length: output ends up in logs.

use std::env;
use std::fs;
use std::io;

const VARIABLES: [&str; 7] = [
    "GREETING",
    "CONFIG_colour",
    "POD_NAME",
    "POD_NAMESPACE",
    "MEMORY_LIMIT_MIB",
    "URL",
    "MISSING",
];
const FILES: [&str; 4] = [
    "/etc/app/colour",
    "/etc/app/menu/today.txt",
    "/etc/podinfo/labels",
    "/etc/podinfo/cpu-limit",
];

fn main() -> io::Result<()> {
    for name in VARIABLES {
        println!(
            "${name} = {}",
            env::var(name).unwrap_or_else(|_| "(not set)".to_owned())
        );
    }
    for path in FILES {
        println!(
            "{path}: {}",
            fs::read_to_string(path)?.trim_end().replace('\n', ", ")
        );
    }
    let password = env::var("PASSWORD").unwrap_or_default();
    let token = fs::read("/etc/token/token")?;
    println!(
        "the password has {} letters, the token {} bytes",
        password.len(),
        token.len()
    );
    Ok(())
}
