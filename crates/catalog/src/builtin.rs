//! The files that are compiled in, in order of precedence: where two entries of the same reason fit, the first one counts.

macro_rules! files {
    ($($name:literal)+) => { &[$(($name, include_str!(concat!("../data/", $name)))),+] };
}

/// Name and text of every file in `data/`.
pub(crate) const FILES: &[(&str, &str)] = files! {
    "classes.yaml"
    "derived.yaml"
    "kubelet.yaml"
    "kubelet-image.yaml"
    "kubelet-volume.yaml"
    "kubelet-node.yaml"
    "node-controller.yaml"
    "attachdetach.yaml"
    "persistentvolume.yaml"
    "workloads.yaml"
    "jobs.yaml"
    "autoscaling.yaml"
    "cluster-autoscaler.yaml"
    "karpenter.yaml"
    "scheduler.yaml"
    "cert-manager.yaml"
    "node-problem-detector.yaml"
    "network.yaml"
    "gitops.yaml"
    "operators.yaml"
    "application.yaml"
};

#[cfg(test)]
mod tests {
    #[test]
    fn lists_every_file_in_the_folder() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/data");
        let mut present: Vec<String> =
            std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        let mut listed: Vec<&str> = super::FILES.iter().map(|(name, _)| *name).collect();
        present.sort();
        listed.sort();
        assert_eq!(listed, present);
    }
}
