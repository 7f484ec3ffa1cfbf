package memory_test

import (
	"context"
	"fmt"
	"time"

	"millrace.dev/pkg/quota/memory"
)

func Example() {
	limits := memory.New()
	defer func() { _ = limits.Close() }()
	for range 3 {
		ok, wait, err := limits.Take(context.Background(), "trigger/customers", 2, time.Hour)
		fmt.Println(ok, wait.Round(time.Hour), err)
	}
	// Output:
	// true 0s <nil>
	// true 0s <nil>
	// false 1h0m0s <nil>
}
