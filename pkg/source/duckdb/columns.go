//go:build cgo && duckdb_arrow

package duckdb

import (
	"fmt"

	engine "github.com/duckdb/duckdb-go-bindings"
)

// kind is how a column of some type is read (README.md has the table).
type kind struct {
	name        string // as the engine writes the type
	cast        string // expression around the column, with %s for it; empty: as it is
	json        bool   // it becomes JSON text
	unsupported bool
}

func (k kind) read(column string) string {
	if k.cast == "" {
		return column
	}
	return fmt.Sprintf(k.cast, column) + " AS " + column
}

const (
	asText = "CAST(%s AS VARCHAR)"
	asJSON = "CAST(to_json(%s) AS VARCHAR)"
)

func kindOf(t engine.LogicalType) kind {
	switch id := engine.GetTypeId(t); id {
	case engine.TypeVarchar:
		if engine.LogicalTypeGetAlias(t) == "JSON" {
			return kind{name: "JSON", cast: asText, json: true}
		}
		return kind{name: "VARCHAR"}
	case engine.TypeDecimal:
		return kind{name: fmt.Sprintf("DECIMAL(%d,%d)", engine.DecimalWidth(t), engine.DecimalScale(t))}
	case engine.TypeList, engine.TypeArray, engine.TypeStruct, engine.TypeMap, engine.TypeUnion:
		return kind{name: nested(id), cast: asJSON, json: true}
	default:
		return plainKind(id)
	}
}

func nested(id engine.Type) string {
	switch id {
	case engine.TypeStruct:
		return "STRUCT"
	case engine.TypeMap:
		return "MAP"
	case engine.TypeUnion:
		return "UNION"
	case engine.TypeArray:
		return "ARRAY"
	default:
		return "LIST"
	}
}

func plainKind(id engine.Type) kind {
	switch id {
	case engine.TypeBoolean:
		return kind{name: "BOOLEAN"}
	case engine.TypeTinyInt:
		return kind{name: "TINYINT"}
	case engine.TypeSmallInt:
		return kind{name: "SMALLINT"}
	case engine.TypeInteger:
		return kind{name: "INTEGER"}
	case engine.TypeBigInt:
		return kind{name: "BIGINT"}
	case engine.TypeUTinyInt:
		return kind{name: "UTINYINT"}
	case engine.TypeUSmallInt:
		return kind{name: "USMALLINT"}
	case engine.TypeUInteger:
		return kind{name: "UINTEGER"}
	case engine.TypeUBigInt:
		return kind{name: "UBIGINT"}
	case engine.TypeHugeInt:
		return kind{name: "HUGEINT", cast: "CAST(%s AS DECIMAL(38,0))"}
	case engine.TypeFloat:
		return kind{name: "FLOAT"}
	case engine.TypeDouble:
		return kind{name: "DOUBLE"}
	case engine.TypeDate:
		return kind{name: "DATE"}
	case engine.TypeTimestamp:
		return kind{name: "TIMESTAMP"}
	case engine.TypeTimestampS:
		return kind{name: "TIMESTAMP_S"}
	case engine.TypeTimestampMS:
		return kind{name: "TIMESTAMP_MS"}
	case engine.TypeTimestampNS:
		return kind{name: "TIMESTAMP_NS"}
	case engine.TypeTimestampTZ:
		return kind{name: "TIMESTAMP WITH TIME ZONE"}
	case engine.TypeBlob:
		return kind{name: "BLOB"}
	default:
		return textKind(id)
	}
}

// textKind is of types that are read as text.
func textKind(id engine.Type) kind {
	switch id {
	case engine.TypeUUID:
		return kind{name: "UUID", cast: asText}
	case engine.TypeEnum:
		return kind{name: "ENUM", cast: asText}
	case engine.TypeUHugeInt:
		return kind{name: "UHUGEINT", cast: asText}
	case engine.TypeBigNum:
		return kind{name: "BIGNUM", cast: asText}
	case engine.TypeTime:
		return kind{name: "TIME", cast: asText}
	case engine.TypeTimeTZ:
		return kind{name: "TIME WITH TIME ZONE", cast: asText}
	case engine.TypeInterval:
		return kind{name: "INTERVAL", cast: asText}
	case engine.TypeBit:
		return kind{name: "BIT", cast: asText}
	case engine.TypeSQLNull:
		return kind{name: "NULL", cast: asText}
	default:
		return kind{name: fmt.Sprintf("number %d of DuckDB's list of types", id), unsupported: true}
	}
}
