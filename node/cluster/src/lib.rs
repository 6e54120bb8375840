//! Who is in the cluster, and the authority that says so.
