// The judge says what Go's decoder makes of a document, with the types that crane and many scanners use.
//
// Each line of its input is a word and a base64 text: "manifest" or "config" with a document, or "layout"
// with a directory's path, or "choice" with that of a layout of one index. For each it prints a line: JSON of what
// it understood, which of a choice is the image that it takes for linux/amd64.
package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"sort"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

func main() {
	input := bufio.NewReaderSize(os.Stdin, 1<<20)
	output := bufio.NewWriter(os.Stdout)
	defer output.Flush()
	encoder := json.NewEncoder(output)
	encoder.SetEscapeHTML(false)
	for {
		line, err := input.ReadString('\n')
		if err != nil {
			return
		}
		kind, text, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		document, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			panic(err)
		}
		var understood any
		switch kind {
		case "manifest":
			understood = map[string]any{"image": image(document), "index": index(document)}
		case "config":
			understood = config(document)
		case "layout":
			understood = layout(string(document))
		case "choice":
			understood = choice(string(document))
		}
		if err := encoder.Encode(understood); err != nil {
			panic(err)
		}
	}
}

func texts(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

func pairs(annotations map[string]string) map[string]string {
	if annotations == nil {
		return map[string]string{}
	}
	return annotations
}

func keys(set map[string]struct{}) []string {
	names := []string{}
	for name := range set {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

func platform(p *v1.Platform) any {
	if p == nil {
		return nil
	}
	return map[string]any{
		"os": p.OS, "architecture": p.Architecture, "variant": p.Variant, "os.version": p.OSVersion,
		"os.features": texts(p.OSFeatures), "features": texts(p.Features),
	}
}

func descriptor(d *v1.Descriptor) any {
	if d == nil {
		return nil
	}
	return map[string]any{
		"mediaType": d.MediaType, "digest": d.Digest.String(), "size": d.Size, "urls": texts(d.URLs),
		"annotations": pairs(d.Annotations), "platform": platform(d.Platform), "artifactType": d.ArtifactType,
		"data": d.Data,
	}
}

func descriptors(list []v1.Descriptor) []any {
	understood := []any{}
	for i := range list {
		understood = append(understood, descriptor(&list[i]))
	}
	return understood
}

func image(document []byte) any {
	m, err := v1.ParseManifest(bytes.NewReader(document))
	if err != nil {
		return nil
	}
	return map[string]any{
		"mediaType": m.MediaType, "artifactType": m.ArtifactType, "config": descriptor(&m.Config),
		"layers": descriptors(m.Layers), "subject": descriptor(m.Subject), "annotations": pairs(m.Annotations),
	}
}

func index(document []byte) any {
	m, err := v1.ParseIndexManifest(bytes.NewReader(document))
	if err != nil {
		return nil
	}
	return map[string]any{
		"mediaType": m.MediaType, "artifactType": m.ArtifactType, "manifests": descriptors(m.Manifests),
		"subject": descriptor(m.Subject), "annotations": pairs(m.Annotations),
	}
}

func config(document []byte) any {
	c, err := v1.ParseConfigFile(bytes.NewReader(document))
	if err != nil {
		return nil
	}
	layers := []string{}
	for _, layer := range c.RootFS.DiffIDs {
		layers = append(layers, layer.String())
	}
	return map[string]any{
		"platform": platform(&v1.Platform{
			OS: c.OS, Architecture: c.Architecture, Variant: c.Variant, OSVersion: c.OSVersion,
			OSFeatures: c.OSFeatures,
		}),
		"diff_ids": layers,
		"created":  []int64{c.Created.Unix(), int64(c.Created.Nanosecond())},
		"process": map[string]any{
			"entrypoint": texts(c.Config.Entrypoint), "cmd": texts(c.Config.Cmd), "env": texts(c.Config.Env),
			"user": c.Config.User, "working_dir": c.Config.WorkingDir, "stop_signal": c.Config.StopSignal,
			"labels": pairs(c.Config.Labels), "volumes": keys(c.Config.Volumes),
			"exposed_ports": keys(c.Config.ExposedPorts),
		},
	}
}

// The images that a layout's index.json leads to, each with its config; nil if something cannot be read.
func layout(root string) any {
	entry, err := os.ReadFile(filepath.Join(root, "index.json"))
	if err != nil {
		panic(err)
	}
	images, ok := below(root, entry, 0)
	if !ok {
		return nil
	}
	return images
}

func below(root string, document []byte, depth int) ([]any, bool) {
	images := []any{}
	m, err := v1.ParseIndexManifest(bytes.NewReader(document))
	if err != nil || depth > 5 {
		return nil, false
	}
	blob := func(d v1.Descriptor) []byte {
		content, err := os.ReadFile(filepath.Join(root, "blobs", d.Digest.Algorithm, d.Digest.Hex))
		if err != nil {
			return nil
		}
		return content
	}
	for _, entry := range m.Manifests {
		content := blob(entry)
		switch {
		case entry.MediaType.IsIndex():
			more, ok := below(root, content, depth+1)
			if !ok {
				return nil, false
			}
			images = append(images, more...)
		case entry.MediaType.IsImage():
			m, err := v1.ParseManifest(bytes.NewReader(content))
			if err != nil {
				return nil, false
			}
			understood := config(blob(m.Config))
			if understood == nil {
				return nil, false
			}
			images = append(images, map[string]any{
				"manifest": entry.Digest.String(), "layers": descriptors(m.Layers), "config": understood,
			})
		}
	}
	return images, true
}

// The image for linux/amd64 of the one index that a layout lists, as whoever pulls it from a registry takes it; nil
// if there is none.
func choice(root string) any {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		algorithm, hex, found := strings.Cut(path.Base(r.URL.Path), ":")
		if !found {
			return
		}
		content, err := os.ReadFile(filepath.Join(root, "blobs", algorithm, hex))
		if err != nil {
			http.NotFound(w, r)
			return
		}
		var document struct{ MediaType string }
		_ = json.Unmarshal(content, &document)
		w.Header().Set("Content-Type", document.MediaType)
		_, _ = w.Write(content)
	}))
	defer server.Close()
	document, err := os.ReadFile(filepath.Join(root, "index.json"))
	if err != nil {
		panic(err)
	}
	m, err := v1.ParseIndexManifest(bytes.NewReader(document))
	if err != nil {
		panic(err)
	}
	reference, err := name.NewDigest(strings.TrimPrefix(server.URL, "http://") + "/image@" + m.Manifests[0].Digest.String())
	if err != nil {
		panic(err)
	}
	taken, err := remote.Image(reference, remote.WithPlatform(v1.Platform{OS: "linux", Architecture: "amd64"}))
	if err != nil {
		return nil
	}
	digest, err := taken.Digest()
	if err != nil {
		return nil
	}
	return digest.String()
}
