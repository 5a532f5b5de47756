// Package sbom writes what a program is made of: CycloneDX 1.5 as JSON, from what Go wrote into the program itself. The same program gives
// the same bytes: nothing in it is random, and it bears no time.
package sbom

import (
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/tidegate-io/tidegate/ota/release"
)

// A list is a bill of materials as CycloneDX 1.5 has it; fields that are required are never empty.
type list struct {
	Format       string       `json:"bomFormat"`
	SpecVersion  string       `json:"specVersion"`
	SerialNumber string       `json:"serialNumber"`
	Version      int          `json:"version"`
	Metadata     metadata     `json:"metadata"`
	Components   []component  `json:"components"`
	Dependencies []dependency `json:"dependencies"`
}

type metadata struct {
	Component  component  `json:"component"`
	Properties []property `json:"properties"`
}

type component struct {
	Type       string     `json:"type"`
	Ref        string     `json:"bom-ref"`
	Name       string     `json:"name"`
	Version    string     `json:"version"`
	Hashes     []hash     `json:"hashes,omitempty"`
	PURL       string     `json:"purl"`
	Properties []property `json:"properties,omitempty"`
}

type hash struct {
	Algorithm string `json:"alg"`
	Content   string `json:"content"`
}

type property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type dependency struct {
	Ref string   `json:"ref"`
	On  []string `json:"dependsOn,omitempty"`
}

// Make returns the list of what is in a program of version, whose bytes have that digest. Modules depend on each other in ways that a
// program does not tell: the list has each as a dependency of the program.
func Make(version string, digest release.Digest, build *buildinfo.BuildInfo) ([]byte, error) {
	if build.Path == "" || build.Main.Path == "" {
		return nil, errors.New("list what is in the program: it does not say which module it is of; build it from a module")
	}
	program := component{
		Type: "application", Name: build.Path, Version: version, PURL: purl(build.Main.Path, version, strings.TrimPrefix(build.Path, build.Main.Path)),
		Hashes: []hash{{"SHA-256", digest.SHA256}, {"SHA-512", digest.SHA512}},
	}
	program.Ref = program.PURL
	l := list{
		Format: "CycloneDX", SpecVersion: "1.5", SerialNumber: serial(digest), Version: 1,
		Metadata: metadata{Component: program, Properties: []property{{"tidegate:go:version", build.GoVersion}}},
	}
	for _, s := range build.Settings { // GOARCH, CGO_ENABLED, -trimpath and the like
		l.Metadata.Properties = append(l.Metadata.Properties, property{"tidegate:go:build:" + s.Key, s.Value})
	}
	library := strings.TrimPrefix(strings.Fields(build.GoVersion + " unknown")[0], "go")
	l.Components = append(l.Components, component{Type: "library", Name: "std", Version: library, PURL: purl("std", library, "")})
	for _, m := range build.Deps {
		l.Components = append(l.Components, module(m))
	}
	main := dependency{Ref: program.Ref}
	for i := range l.Components {
		l.Components[i].Ref = l.Components[i].PURL
		main.On = append(main.On, l.Components[i].Ref)
		l.Dependencies = append(l.Dependencies, dependency{Ref: l.Components[i].Ref})
	}
	slices.SortFunc(l.Components, func(a, b component) int { return strings.Compare(a.Ref, b.Ref) })
	slices.Sort(main.On)
	l.Dependencies = append([]dependency{main}, l.Dependencies...)
	slices.SortFunc(l.Dependencies[1:], func(a, b dependency) int { return strings.Compare(a.Ref, b.Ref) })
	body, err := json.MarshalIndent(l, "", " ")
	if err != nil {
		return nil, fmt.Errorf("list what is in the program: %w", err)
	}
	return append(body, '\n'), nil
}

// module returns the component of a module, or of what replaces it.
func module(m *debug.Module) component {
	c := component{Type: "library", Name: m.Path, Version: m.Version}
	if m.Replace != nil {
		c.Properties = append(c.Properties, property{"tidegate:go:replaces", m.Path + "@" + m.Version})
		m = m.Replace
		c.Name, c.Version = m.Path, m.Version
	}
	if c.Version == "" { // a folder
		c.Version = "unknown"
	}
	c.PURL = purl(c.Name, c.Version, "")
	if m.Sum != "" { // of the module's files (golang.org/x/mod/sumdb/dirhash), which CycloneDX has no algorithm for
		c.Properties = append(c.Properties, property{"tidegate:go:sum", m.Sum})
	}
	return c
}

// purl returns the package URL of a module, with the package in it (type golang of the purl specification).
func purl(path, version, sub string) string {
	out := "pkg:golang/" + (&url.URL{Path: path}).EscapedPath() + "@" + url.QueryEscape(version)
	if sub = strings.Trim(sub, "/"); sub != "" {
		out += "#" + (&url.URL{Path: sub}).EscapedPath()
	}
	return out
}

// serial returns a UUID (RFC 9562 version 8) that is the program's own.
func serial(d release.Digest) string {
	h := sha256.Sum256([]byte("tidegate sbom " + d.SHA256))
	h[6] = h[6]&0x0f | 0x80
	h[8] = h[8]&0x3f | 0x80
	return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", h[0:4], h[4:6], h[6:8], h[8:10], h[10:16])
}
