//! Validation of security contexts: whether what they say is well formed.
//!
//! Whether a wasm container can honour it is asked in `convert::security`.

use super::names;
use crate::cursor::At;
use crate::findings::Findings;

/// Checks a pod's security context.
pub(crate) fn check_pod(context: &At<'_, '_>, found: &mut Findings) {
    user(context, found);
    id(&context.field("fsGroup"), found);
    for group in context.field("supplementalGroups").items() {
        id(&group, found);
    }
    profiles(context, found);
}

/// Checks a container's security context.
pub(crate) fn check_container(context: &At<'_, '_>, found: &mut Findings) {
    user(context, found);
    profiles(context, found);
}

fn user(context: &At<'_, '_>, found: &mut Findings) {
    id(&context.field("runAsUser"), found);
    id(&context.field("runAsGroup"), found);
}

fn id(at: &At<'_, '_>, found: &mut Findings) {
    if let Some(number) = at.integer() {
        found.complain(at, names::between(number, 0, i64::from(u32::MAX)));
    }
}

/// A profile of the node has a name, and no other has one.
fn profiles(context: &At<'_, '_>, found: &mut Findings) {
    for (profile, what) in [
        ("seccompProfile", "seccomp type"),
        ("appArmorProfile", "AppArmor type"),
    ] {
        let profile = context.field(profile);
        let (local, name) = (
            profile.field("type").text() == "Localhost",
            profile.field("localhostProfile"),
        );
        if local && name.text().is_empty() {
            found.required(&name, &format!("must be set when {what} is Localhost"));
        }
        if !local && name.is_set() {
            found.invalid(&name, &format!("can only be set when {what} is Localhost"));
        }
    }
}
