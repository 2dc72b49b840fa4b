// Command schemacheck validates JSON files against a JSON Schema. It is a
// module of its own, so that peel needs no validator.
package main

import (
	"fmt"
	"os"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

func main() {
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	schema, err := c.Compile(os.Args[1])
	if err != nil {
		fmt.Println(err)
		os.Exit(2)
	}
	for _, name := range os.Args[2:] {
		f, err := os.Open(name)
		if err != nil {
			fmt.Println(err)
			os.Exit(2)
		}
		doc, err := jsonschema.UnmarshalJSON(f)
		if err == nil {
			err = schema.Validate(doc)
		}
		if err != nil {
			fmt.Printf("%s: %v\n", name, err)
			os.Exit(1)
		}
	}
}
