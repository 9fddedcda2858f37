//! `pod-start`: a pod in a running host, from its parsed manifest to its guest's `main`; and
//! `pod-files`, the same until the guest has read a file of its ConfigMap and written one into its
//! emptyDir.
//!
//! Each pod has an emptyDir, a ConfigMap volume and its own address. Nothing is made for a pod in
//! advance: its image is compiled and has run before, in another pod.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::{Context as _, bail};
use api::Workload;

use super::warm_host::WarmHost;
use super::{case, images};
use crate::bench::Bench;
use crate::report::{Case, Figure};
use crate::samples::Samples;

const START: Case = case("pod-start");
const FILES: Case = case("pod-files");

/// Distinct images; one pod of each runs before any is measured.
const IMAGES: u32 = 100;

/// What the guest reads.
const CONFIG: &str = r"
apiVersion: v1
kind: ConfigMap
metadata:
  name: settings
data:
  greeting: Hello
";

/// Measures it.
///
/// # Errors
/// When a pod does not run.
pub(super) fn measure(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let runtime = WarmHost::runtime()?;
    let code = Arc::new(images::store(&bench.paths.data, &bench.programs.compiler));
    let folder = bench.paths.work.join("images");
    let made = images::distinct(&bench.programs.start, IMAGES, &folder, &code);
    let images = runtime.block_on(made)?;
    let images: HashMap<_, _> = (0..).map(image_name).zip(images).collect();
    let warm_up = usize::try_from(IMAGES)?;
    let workload = workload(warm_up + bench.amount.in_process)?;
    let data = tempfile::tempdir_in(&bench.paths.work)?;
    let mut host = WarmHost::start(runtime, data.path(), code, images, &workload)?;
    let (mut starts, mut files) = (Vec::new(), Vec::new());
    for (number, admitted) in workload.pods.iter().enumerate() {
        let (start, used) = host.sample(admitted.pod.clone())?;
        if number >= warm_up {
            starts.push(start);
            files.push(used);
        }
    }
    Ok(vec![
        START.measured("wasmpod", &Samples::new(starts)),
        FILES.measured("wasmpod", &Samples::new(files)),
    ])
}

fn image_name(number: u32) -> String {
    format!("file:start-{number}.wasm")
}

/// So many pods, which take the images in turns.
fn workload(pods: usize) -> anyhow::Result<Workload> {
    let mut workload = Workload::new();
    let mut manifests = vec![CONFIG.to_owned()];
    for number in 0..u32::try_from(pods)? {
        manifests.push(pod(number, &image_name(number % IMAGES)));
    }
    for manifest in manifests {
        if let Err(errors) = workload.add(manifest, "bench", SystemTime::now()) {
            let error = errors.first().context("refused without a reason")?;
            bail!("the bench's manifest is refused: {error}");
        }
    }
    Ok(workload)
}

fn pod(number: u32, image: &str) -> String {
    format!(
        r"
apiVersion: v1
kind: Pod
metadata:
  name: start-{number}
spec:
  restartPolicy: Never
  containers:
    - name: guest
      image: {image}
      args: [/settings/greeting, /scratch/greeting]
      volumeMounts:
        - name: settings
          mountPath: /settings
        - name: scratch
          mountPath: /scratch
  volumes:
    - name: settings
      configMap:
        name: settings
    - name: scratch
      emptyDir: {{}}
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_take_the_images_in_turns() -> anyhow::Result<()> {
        let workload = workload(IMAGES as usize + 2)?;
        let image = |pod: usize| workload.pods[pod].pod.containers[0].image.clone();
        assert_eq!(workload.pods.len(), IMAGES as usize + 2);
        assert_eq!(image(1), image_name(1));
        assert_eq!(image(IMAGES as usize + 1), image_name(1));
        assert!(workload.missing().is_empty());
        Ok(())
    }
}
