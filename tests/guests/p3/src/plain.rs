//! What any program asks.

use futures::future::join_all;
use wasip3::cli::{environment, stdin as input, terminal_stderr, terminal_stdin, terminal_stdout};
use wasip3::clocks::{monotonic_clock, system_clock};
use wasip3::random::{insecure, insecure_seed, random as secure};

use crate::say::{print, say};
use crate::{Args, Outcome};

pub(crate) async fn args(args: Args) -> Outcome {
    for (index, text) in args.0.iter().enumerate() {
        say(&format!("arg {index} {}", text.escape_debug())).await;
    }
    let program = environment::get_arguments().into_iter().next();
    say(&format!("program {}", program.unwrap_or_default())).await;
    Ok(())
}

pub(crate) async fn env(args: Args) -> Outcome {
    let all = environment::get_environment();
    for name in &args.0 {
        match all.iter().find(|(key, _)| key == name) {
            Some((_, value)) => say(&format!("env {name}={}", value.escape_debug())).await,
            None => say(&format!("env {name} unset")).await,
        }
    }
    Ok(())
}

pub(crate) async fn cwd() -> Outcome {
    let cwd = environment::get_initial_cwd().unwrap_or_default();
    say(&format!("cwd {cwd}")).await;
    Ok(())
}

pub(crate) async fn stdin() -> Outcome {
    let (stream, ended) = input::read_via_stream();
    let bytes = stream.collect().await;
    for line in String::from_utf8_lossy(&bytes).lines() {
        say(&format!("line {line}")).await;
    }
    say(&format!("ended {:?}", ended.await)).await;
    Ok(())
}

pub(crate) async fn ask() -> Outcome {
    print("name? ").await;
    let (mut stream, _ended) = input::read_via_stream();
    let mut name = Vec::new();
    while let Some(byte) = stream.next().await.filter(|byte| *byte != b'\n') {
        name.push(byte);
    }
    say(&format!("hello {}", String::from_utf8_lossy(&name))).await;
    Ok(())
}

pub(crate) async fn terminal() -> Outcome {
    let (stdin, stdout, stderr) = (
        terminal_stdin::get_terminal_stdin().is_some(),
        terminal_stdout::get_terminal_stdout().is_some(),
        terminal_stderr::get_terminal_stderr().is_some(),
    );
    say(&format!("stdin terminal {stdin}")).await;
    say(&format!("stdout terminal {stdout}")).await;
    say(&format!("stderr terminal {stderr}")).await;
    Ok(())
}

pub(crate) async fn clock() -> Outcome {
    let now = system_clock::now();
    say(&format!("epoch_s {}", now.seconds)).await;
    let steps = (
        system_clock::get_resolution() > 0,
        monotonic_clock::get_resolution() > 0,
    );
    say(&format!("steps {steps:?}")).await;
    let begun = monotonic_clock::now();
    monotonic_clock::wait_until(begun).await;
    monotonic_clock::wait_until(begun + 5_000_000).await;
    let waited = monotonic_clock::now() - begun;
    say(&format!("waited {}", waited >= 5_000_000)).await;
    Ok(())
}

pub(crate) async fn timers(args: Args) -> Outcome {
    let (count, ms): (usize, u64) = (args.number(0)?, args.number(1)?);
    let begun = monotonic_clock::now();
    let waits = (0..count).map(|_| monotonic_clock::wait_for(ms * 1_000_000));
    join_all(waits).await;
    let waited = (monotonic_clock::now() - begun) / 1_000_000;
    say(&format!("timers {count} waited_ms {waited}")).await;
    Ok(())
}

pub(crate) async fn random(args: Args) -> Outcome {
    let wanted: u64 = args.number(0)?;
    for (name, call) in [
        ("secure", secure::get_random_bytes as fn(u64) -> Vec<u8>),
        ("insecure", insecure::get_insecure_random_bytes),
    ] {
        let (mut bytes, mut calls) = (0, 0);
        while bytes < wanted {
            bytes += call(wanted - bytes).len() as u64;
            calls += 1;
        }
        say(&format!("{name} {bytes} calls {calls}")).await;
    }
    let differ = secure::get_random_u64() != secure::get_random_u64()
        && insecure::get_insecure_random_u64() != insecure::get_insecure_random_u64();
    let seed = insecure_seed::get_insecure_seed();
    say(&format!("differ {} seed {}", differ, seed != (0, 0))).await;
    say(&format!("none {}", secure::get_random_bytes(0).len())).await;
    Ok(())
}

pub(crate) async fn mixed() -> Outcome {
    println!("by std");
    say("by 0.3").await;
    println!("by std again");
    Ok(())
}
