//! Cluster C: accounts, aliases, domains, over LDAP.
