//! Validation of `resources`.

use super::names;
use crate::cursor::At;
use crate::findings::Findings;

/// Checks a container's requests and limits.
pub(crate) fn check(resources: &At<'_, '_>, found: &mut Findings) {
    let (limits, requests) = (resources.field("limits"), resources.field("requests"));
    for list in [&limits, &requests] {
        for (name, quantity) in list.entries() {
            resource(name, &quantity, found);
        }
    }
    for (name, quantity) in requests.entries() {
        let limit = limits.key(name);
        if let (Some(request), Some(most)) = (quantity.quantity(), limit.quantity())
            && request > most
        {
            let detail = format!(
                "must be less than or equal to {name} limit of {}",
                limit.text()
            );
            found.invalid_part(&requests, quantity.text(), &detail);
        }
    }
}

fn resource(name: &str, quantity: &At<'_, '_>, found: &mut Findings) {
    let complaints = names::qualified(name);
    let well_formed = complaints.is_empty();
    found.complain_about(quantity, name, complaints);
    if well_formed && !name.contains('/') && !is_standard(name) {
        found.invalid_part(
            quantity,
            name,
            "must be a standard resource type or fully qualified",
        );
        found.invalid_part(quantity, name, "must be a standard resource for containers");
    }
    if quantity
        .quantity()
        .is_some_and(|quantity| quantity.is_negative())
    {
        found.invalid(quantity, "must be greater than or equal to 0");
    }
}

/// Whether containers have such a resource by Kubernetes' own naming.
fn is_standard(name: &str) -> bool {
    matches!(name, "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-")
}
