// Package redshifttest is a Redshift of our own for tests: it speaks PostgreSQL's protocol as the warehouse does, answers
// UNLOAD itself by writing Parquet files and a manifest to an S3 of its own, and passes everything else on to a real
// PostgreSQL in its dialect, as a role that can write to no schema but that of states. Beside it stand the APIs of AWS that
// the driver calls: S3, STS and the two that give temporary credentials. The real clients talk to all of it.
package redshifttest
