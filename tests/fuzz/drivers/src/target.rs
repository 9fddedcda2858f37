//! libFuzzer's program: the target that `WASMPOD_FUZZ` names, over and over. Its seeds are first
//! written into the folder that `WASMPOD_FUZZ_SEEDS` names. Without a target it tells their names.

#![no_main]

use std::path::Path;
use std::sync::OnceLock;
use std::{env, fs, io, process};

use fuzz::{TARGETS, Target};
use libfuzzer_sys::fuzz_target;

static CHOSEN: OnceLock<Target> = OnceLock::new();

fuzz_target!(
    init: {
        let Ok(name) = env::var("WASMPOD_FUZZ") else {
            TARGETS.iter().for_each(|target| println!("{}", target.name));
            process::exit(0);
        };
        let found = TARGETS.iter().find(|target| target.name == name);
        let chosen = found.expect("WASMPOD_FUZZ names one of fuzz::TARGETS");
        if let Some(folder) = env::var_os("WASMPOD_FUZZ_SEEDS") {
            write_seeds(chosen, Path::new(&folder)).expect("a folder for seeds");
        }
        let _ = CHOSEN.set(*chosen);
    },
    |bytes: &[u8]| {
        if let Some(target) = CHOSEN.get() {
            (target.run)(bytes);
        }
    }
);

fn write_seeds(target: &Target, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for (number, seed) in (target.seeds)().iter().enumerate() {
        fs::write(folder.join(format!("seed-{number}")), seed)?;
    }
    Ok(())
}
