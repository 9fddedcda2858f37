//! The mount points of a container as a tree of names. Pure: what is mounted is a number.

use std::collections::BTreeMap;

/// Mount points and the names that lead to them. The root is always one.
#[derive(Debug)]
pub(crate) struct Tree {
    points: Vec<Point>,
}

#[derive(Debug, Default)]
struct Point {
    mount: Option<usize>,
    below: BTreeMap<String, usize>,
}

// === impl Tree ===

impl Default for Tree {
    /// A root with the mount 0 on it.
    fn default() -> Self {
        Self {
            points: vec![Point {
                mount: Some(0),
                below: BTreeMap::new(),
            }],
        }
    }
}

impl Tree {
    /// The container's root.
    pub(crate) const ROOT: usize = 0;

    /// Puts another mount on the root.
    pub(crate) fn mount_on_root(&mut self, mount: usize) {
        if let Some(root) = self.points.first_mut() {
            root.mount = Some(mount);
        }
    }

    /// Adds a mount point. `false` if there is one already.
    pub(crate) fn insert(&mut self, names: &[String], mount: usize) -> bool {
        let mut at = Self::ROOT;
        for name in names {
            let next = self.points.len();
            let Some(point) = self.points.get_mut(at) else {
                return false;
            };
            at = *point.below.entry(name.clone()).or_insert(next);
            if at == next {
                self.points.push(Point::default());
            }
        }
        match self.points.get_mut(at) {
            Some(point) if point.mount.is_none() => {
                point.mount = Some(mount);
                true
            }
            _ => false,
        }
    }

    /// The point at a path from the root.
    pub(crate) fn find(&self, names: &[String]) -> Option<usize> {
        names
            .iter()
            .try_fold(Self::ROOT, |at, name| self.below(at, name))
    }

    /// The mount that a path from the root leads into last.
    pub(crate) fn nearest(&self, names: &[String]) -> Option<usize> {
        let mut point = Self::ROOT;
        let mut mount = self.mount(point);
        for name in names {
            let Some(next) = self.below(point, name) else {
                break;
            };
            point = next;
            mount = self.mount(point).or(mount);
        }
        mount
    }

    /// The point one name below another.
    pub(crate) fn below(&self, point: usize, name: &str) -> Option<usize> {
        self.points.get(point)?.below.get(name).copied()
    }

    /// What is mounted at a point.
    pub(crate) fn mount(&self, point: usize) -> Option<usize> {
        self.points.get(point)?.mount
    }

    /// The points one name below another, with their names.
    pub(crate) fn all_below(&self, point: usize) -> impl Iterator<Item = (&str, usize)> {
        self.points.get(point).into_iter().flat_map(|point| {
            point
                .below
                .iter()
                .map(|(name, &point)| (name.as_str(), point))
        })
    }

    /// Whether mount points lie below a point.
    pub(crate) fn has_any_below(&self, point: usize) -> bool {
        self.points
            .get(point)
            .is_some_and(|point| !point.below.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(path: &str) -> Vec<String> {
        path.split('/')
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn knows_points_and_what_leads_to_them() {
        let mut tree = Tree::default();
        assert!(tree.insert(&names("/data"), 1));
        assert!(tree.insert(&names("/data/a/b"), 2));
        assert!(!tree.insert(&names("/data"), 3), "one mount per path");
        assert!(!tree.insert(&names("/"), 3), "the root has one");
        for (path, expected) in [
            ("/", Some(Some(0))),
            ("/data", Some(Some(1))),
            ("/data/a", Some(None)),
            ("/data/a/b", Some(Some(2))),
            ("/data/b", None),
            ("/data/a/b/c", None),
        ] {
            let point = tree.find(&names(path));
            assert_eq!(point.map(|point| tree.mount(point)), expected, "{path}");
        }
        let data = tree.find(&names("/data")).unwrap();
        assert!(tree.has_any_below(data));
        assert_eq!(
            tree.all_below(data)
                .map(|(name, _)| name)
                .collect::<Vec<_>>(),
            ["a"]
        );
    }

    #[test]
    fn the_nearest_mount_is_the_last_on_the_way() {
        let mut tree = Tree::default();
        assert!(tree.insert(&names("/data"), 1));
        assert!(tree.insert(&names("/data/a/b"), 2));
        for (path, expected) in [
            ("/", 0),
            ("/dat", 0),
            ("/data", 1),
            ("/data/a", 1),
            ("/data/a/b", 2),
            ("/data/a/b/c/d", 2),
            ("/data/x/a/b", 1),
        ] {
            assert_eq!(tree.nearest(&names(path)), Some(expected), "{path}");
        }
        tree.mount_on_root(3);
        assert_eq!(tree.nearest(&names("/etc")), Some(3));
    }
}
