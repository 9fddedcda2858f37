//! A job that fails twice and succeeds at its third attempt. It counts its attempts in a file of
//! an emptyDir, which lives as long as the pod and so outlives each failed container.

use std::fs;
use std::io;
use std::process::ExitCode;

const ATTEMPTS: &str = "/work/attempts";
const FAILURES: u32 = 2;

fn main() -> io::Result<ExitCode> {
    let before = fs::read_to_string(ATTEMPTS)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(0);
    let attempt: u32 = before + 1;
    fs::write(ATTEMPTS, attempt.to_string())?;
    if attempt <= FAILURES {
        eprintln!("attempt {attempt}: failed");
        return Ok(ExitCode::FAILURE);
    }
    println!("attempt {attempt}: done");
    Ok(ExitCode::SUCCESS)
}
